"""An app behind a port: uvicorn set up, and what is said once it listens."""

from __future__ import annotations

from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from service.door import Door
from service.patience import PatientProtocol
from service.running import Running
from service.server import Server
from service.settings import HOW_TO_OPEN, Settings


def serve(app: FastAPI, settings: Settings, announce: Callable[[str], None], door: Door | None = None) -> None:
    """Serve until a signal ends it, on the port of the settings, or at a `door` that other processes share.

    `announce` gets what is served where, as rich markup, once that is so.
    """
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=PatientProtocol,
        log_config=None,
        access_log=settings.log_level == "debug",
        timeout_graceful_shutdown=max(1, round(settings.grace_seconds)),
        server_header=False,
        ws="none",
    )
    running: Running = app.state.running
    Server(config, running, lambda url: announce(_announcement(running, url)), door).run()


def _announcement(running: Running, url: str) -> str:
    lines = []
    for name, model in running.models.items():
        champion = model.follower.status.desired.champion
        serves = "no trigger" if champion is None else f"v{champion}"
        lines.append(f"[bold]{name}[/] ({model.classifier.modality}, {serves})  {url}/v1/models/{name}/predict")
    lines.append(f"store {running.store.url}   docs {url}/docs   metrics {url}/metrics")
    if running.settings.admin_token is None:
        lines.append(f"[yellow]The admin routes (swap, rollback) are closed:[/] {HOW_TO_OPEN}.")
    return "\n".join(lines)
