"""Uvicorn around the app: its set-up, a stop that loses no request, and the announcement once it listens."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import socket
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI
from rich.markup import escape

from service.config import ADMIN_SETUP_HINT, Settings
from service.process_lifecycle import freeze_gc, ignore_image_warnings
from service.runtime import ServiceRuntime
from service.server.grpc_server import GrpcServer
from service.server.http_timeouts import TimeoutProtocol, check_hook, close_slow
from service.server.shared_listener import SharedListener, accept_waiting, listen, url_of

LINGER_SECONDS = 0.25


class DrainingServer(uvicorn.Server):
    """Uvicorn that loses no accepted request on SIGTERM, and then ends with status 0.

    It is not ready at once, but serves on for `drain_seconds`. Then it takes no new connections, gives accepted ones
    LINGER_SECONDS to send their request, and finishes the requests in flight.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        running: ServiceRuntime,
        announce: Callable[[str], None],
        listener: SharedListener | None = None,
        admin_door: SharedListener | None = None,
        grpc_server: GrpcServer | None = None,
    ) -> None:
        super().__init__(config)
        self._grpc_server = grpc_server
        self._service, self._announce, self._listener = running, announce, listener
        self._listeners = [each for each in (listener, admin_door) if each]
        if admin_door:
            running.admin_port = admin_door.port
        self._admitting = set[asyncio.Task[object]]()
        self._stop_listening_at = self._exit_at = math.inf

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGTERM drains first. SIGINT, or a second signal, does not; a second SIGINT drops requests in flight."""
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        drain = sig == signal.SIGTERM and not self._service.draining
        self._service.draining = True
        self._stop_listening_at = time.monotonic() + (self._service.settings.drain_seconds if drain else 0.0)

    async def on_tick(self, counter: int) -> bool:
        """Uvicorn's tick, ten times a second: stop when it is time, and close slow connections once a second."""
        now = time.monotonic()
        if now >= self._stop_listening_at and self._exit_at == math.inf:
            await self._stop_listening()
            self._exit_at = now + LINGER_SECONDS
        self.should_exit = self.should_exit or now >= self._exit_at
        if counter % 10 == 0:
            close_slow(self.server_state.connections, self._service.settings.receive_seconds)
        return await super().on_tick(counter)

    async def _stop_listening(self) -> None:
        """Stop listening, and serve connections not yet accepted, which closing alone would reset."""
        waiting = [connection for listener in self._listeners for connection in listener.close()]
        for server in self.servers:
            listeners = [socket.socket(fileno=os.dup(listening.fileno())) for listening in server.sockets]
            server.close()
            for listener in listeners:
                with listener:
                    waiting += accept_waiting(listener)
        for connection in waiting:
            await asyncio.get_running_loop().connect_accepted_socket(self._protocol, connection)

    def _admit(self, connection: socket.socket) -> None:
        """Serve a connection that a SharedListener accepted."""
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        speaking = asyncio.get_running_loop().connect_accepted_socket(self._protocol, connection)
        task: asyncio.Task[object] = asyncio.ensure_future(speaking)
        self._admitting.add(task)
        task.add_done_callback(self._admitting.discard)

    def _protocol(self) -> asyncio.Protocol:
        return self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )

    async def startup(self, sockets: list[Any] | None = None) -> None:
        """Start listening, then announce what is served where. Raises ConfigError if gRPC's port is taken."""
        if self._grpc_server:
            self._grpc_server.bind()
        await super().startup([] if self._listener else sockets)
        freeze_gc()
        ignore_image_warnings()
        if not self.started:
            return
        for listener in self._listeners:
            listener.open(self._admit)
        if self._grpc_server:
            await self._grpc_server.start()
        if self._listener:
            self._announce(url_of(self._listener.listening))
        else:
            self._announce(url_of(self.servers[0].sockets[0]))

    async def shutdown(self, sockets: list[Any] | None = None) -> None:
        """Finish what is in flight, over gRPC first, and stop the service."""
        if self._grpc_server:
            await self._grpc_server.stop()
        await super().shutdown(sockets)


LONG_TOKEN = 20


def serve(
    app: FastAPI,
    settings: Settings,
    announce: Callable[[str], None],
    listener: SharedListener | None = None,
    admin_door: SharedListener | None = None,
) -> int:
    """Serve until a signal ends it, on the port of the settings, or on a `listener` that other processes share.

    With an `admin_door`, admin routes answer there alone. `announce` gets what is served where, as rich markup, once
    the server listens. Returns the exit status: 1 if a step of the stop failed. Raises what `ServiceRuntime.open`
    raises.
    """
    check_hook()
    running: ServiceRuntime = app.state.running
    grpc_server = None if settings.grpc_port is None else GrpcServer(app, settings)
    running.open()
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=TimeoutProtocol,
        proxy_headers=bool(settings.proxy_hosts),
        forwarded_allow_ips=list(settings.proxy_hosts),
        log_config=None,
        access_log=settings.log_level == "debug",
        timeout_graceful_shutdown=max(1, round(settings.grace_seconds)),
        server_header=False,
        ws="none",
    )

    def told(url: str) -> None:
        announce(_announcement(running, url) + (f"\ngRPC at {grpc_server.address}" if grpc_server else ""))

    DrainingServer(config, running, told, listener, admin_door, grpc_server).run()
    return 1 if running.shutdown.failed else 0


def bind_admin_listener(settings: Settings) -> SharedListener | None:
    """The separate listener of the admin routes, if the settings ask for one. Raises ConfigError."""
    return None if settings.admin_port is None else SharedListener(listen(settings.admin_host, settings.admin_port))


def exposure_warnings(settings: Settings) -> list[str]:
    """Warnings to an operator whose service accepts connections from other machines."""
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


def _announcement(running: ServiceRuntime, url: str) -> str:
    lines = []
    for name, model in running.models.items():
        champion = model.controller.status.desired.champion
        serves = "no trigger" if champion is None else f"v{champion}"
        lines.append(f"[bold]{name}[/] ({model.classifier.modality}, {serves})  {url}/v1/models/{name}/predict")
    for failed in running.failed.values():
        lines.append(f"[bold red]{failed.name} is not served:[/] {escape(failed.reason)}")
    lines.append(f"store {running.store.url}   docs {url}/docs   metrics {url}/metrics")
    if running.admin_port is not None:
        lines.append(f"admin routes at {running.settings.admin_host}, port {running.admin_port}, and nowhere else")
    if not running.keyring.admits_admin:
        lines.append(f"[yellow]The admin routes (swap, rollback) are closed:[/] {ADMIN_SETUP_HINT}.")
    lines += [f"[yellow]{each}[/]" for each in exposure_warnings(running.settings)]
    return "\n".join(lines)
