"""An app behind a port: uvicorn set up, and what is said once it listens."""

from __future__ import annotations

from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from service.door import Door, listen
from service.patience import PatientProtocol, check_hook
from service.running import Running
from service.server import Server
from service.settings import HOW_TO_OPEN, Settings

LONG_TOKEN = 20


def serve(
    app: FastAPI,
    settings: Settings,
    announce: Callable[[str], None],
    door: Door | None = None,
    admin_door: Door | None = None,
) -> int:
    """Serve until a signal ends it, on the port of the settings, or at a `door` that other processes share.

    Admin routes are behind `admin_door` alone, if there is one. `announce` gets what is served where, as rich markup,
    once that is so. Returns the exit status: 1 if a step of the stop failed. Raises what `Running.open` raises.
    """
    check_hook()
    running: Running = app.state.running
    running.open()
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=PatientProtocol,
        proxy_headers=bool(settings.proxy_hosts),
        forwarded_allow_ips=list(settings.proxy_hosts),
        log_config=None,
        access_log=settings.log_level == "debug",
        timeout_graceful_shutdown=max(1, round(settings.grace_seconds)),
        server_header=False,
        ws="none",
    )
    Server(config, running, lambda url: announce(_announcement(running, url)), door, admin_door).run()
    return 1 if running.shutdown.failed else 0


def admin_door(settings: Settings) -> Door | None:
    """A door of its own for the admin routes, if the settings ask for one. Raises ConfigError."""
    return None if settings.admin_port is None else Door(listen(settings.admin_host, settings.admin_port))


def exposures(settings: Settings) -> list[str]:
    """What an operator should know who lets others than this machine connect."""
    if settings.local:
        return []
    found = []
    if settings.api_keys is None:
        found.append(f"Whoever reaches {settings.host} may predict, give feedback and read statistics: set api_keys.")
    token = settings.admin_token.get_secret_value() if settings.admin_token else None
    if token is not None and len(token) < LONG_TOKEN:
        found.append(f"The admin token has {len(token)} characters and may be guessed: openssl rand -hex 32 makes one.")
    if settings.guard and not settings.guard_keys:
        found.append(
            "The guard weighs whatever callers send, true or invented: name the keys it may trust, guard_keys."
        )
    return found


def _announcement(running: Running, url: str) -> str:
    lines = []
    for name, model in running.models.items():
        champion = model.follower.status.desired.champion
        serves = "no trigger" if champion is None else f"v{champion}"
        lines.append(f"[bold]{name}[/] ({model.classifier.modality}, {serves})  {url}/v1/models/{name}/predict")
    lines.append(f"store {running.store.url}   docs {url}/docs   metrics {url}/metrics")
    if running.admin_port is not None:
        lines.append(f"admin routes at {running.settings.admin_host}, port {running.admin_port}, and nowhere else")
    if not running.keyring.admits_admin:
        lines.append(f"[yellow]The admin routes (swap, rollback) are closed:[/] {HOW_TO_OPEN}.")
    lines += [f"[yellow]{each}[/]" for each in exposures(running.settings)]
    return "\n".join(lines)
