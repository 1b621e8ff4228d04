"""The gRPC door: clients of the Open Inference Protocol V2 over gRPC, answered by the HTTP app in the same process.

Every call becomes a request of the app, in memory, so that access, limits, parsing, counts, traces and problems are
those of HTTP. Metadata stand for headers, a problem's status for a gRPC code, a call's deadline for X-Timeout-Ms.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

from starlette.types import ASGIApp, Message

from service.api.v2.request import HEADER_LENGTH
from service.config import Settings
from service.engine.batching import MAX_TIMEOUT_MS
from service.server.grpc_messages import infer_request_body, infer_response, metadata_response
from triggers.errors import ConfigError, InputError
from triggers.model.endpoint.grpc_connection import require_grpc
from triggers.model.endpoint.inference_messages import SERVICE, inference_message

HEADERS = ("authorization", "x-request-id", "x-request-key", "x-timeout-ms", "traceparent")
"""Metadata of a call that mean what the HTTP headers of these names do; others are ignored."""
TOLD = ("x-request-id", "traceparent", "x-trigger", "server-timing", "retry-after")
"""Headers of a response that become trailing metadata."""
CODES = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    413: "RESOURCE_EXHAUSTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
"""gRPC codes by HTTP status; of others 4xx are INVALID_ARGUMENT, 5xx INTERNAL."""
MESSAGE_ROOM = 65_536
"""Bytes that a message may have beyond `max_body_bytes`, whose own limit says what is wrong."""
logger = logging.getLogger(__name__)


@dataclass
class HttpReply:
    """The app's response to one call."""

    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    async def send(self, message: Message) -> None:
        """ASGI's `send`."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode().lower(): value.decode() for name, value in message["headers"]}
        else:
            self.body += message.get("body", b"")


class GrpcServer:
    """Serves `app` over gRPC at `grpc_port` of the settings, from the running event loop. Raises ConfigError."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._grpc, self._app, self._settings = require_grpc(), app, settings
        self._running = set[asyncio.Task[None]]()
        self.address = ""

    def bind(self) -> None:
        """Take the port, without answering yet; in the event loop. Raises ConfigError if it is not free."""
        host = f"[{self._settings.host}]" if ":" in self._settings.host else self._settings.host
        options = [
            ("grpc.max_receive_message_length", self._settings.max_body_bytes + MESSAGE_ROOM),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),
        ]
        self._server = self._grpc.aio.server(options=options)
        handlers = {name: self._handler(name) for name in _CALLS}
        self._server.add_generic_rpc_handlers((self._grpc.method_handlers_generic_handler(SERVICE, handlers),))
        try:
            port = self._server.add_insecure_port(f"{host}:{self._settings.grpc_port}")
        except RuntimeError as error:
            raise ConfigError(f"gRPC cannot listen at {host}:{self._settings.grpc_port}: is the port free?") from error
        self.address = f"{host}:{port}"

    async def start(self) -> None:
        """Answer calls."""
        await self._server.start()

    async def stop(self) -> None:
        """Take no more calls, and let those in flight finish within `grace_seconds`."""
        await self._server.stop(self._settings.grace_seconds)

    def _handler(self, name: str) -> Any:
        call = _CALLS[name]

        async def answer(request: Any, context: Any) -> Any:
            return await call(self, request, context)

        return self._grpc.unary_unary_rpc_method_handler(
            answer,
            request_deserializer=inference_message(f"{name}Request").FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )

    async def _live(self, request: Any, context: Any) -> Any:
        return await self._health("ServerLiveResponse", "live", "/v2/health/live", context)

    async def _ready(self, request: Any, context: Any) -> Any:
        return await self._health("ServerReadyResponse", "ready", "/v2/health/ready", context)

    async def _model_ready(self, request: Any, context: Any) -> Any:
        path = await self._path(request.name, request.version, context)
        return await self._health("ModelReadyResponse", "ready", f"{path}/ready", context)

    async def _server_metadata(self, request: Any, context: Any) -> Any:
        reply = await self._checked(context, "/v2")
        return metadata_response("ServerMetadataResponse", json.loads(reply.body) | {"extensions": []})

    async def _model_metadata(self, request: Any, context: Any) -> Any:
        reply = await self._checked(context, await self._path(request.name, request.version, context))
        return metadata_response("ModelMetadataResponse", json.loads(reply.body))

    async def _infer(self, request: Any, context: Any) -> Any:
        path = await self._path(request.model_name, request.model_version, context)
        try:
            body, length = infer_request_body(request)
        except InputError as error:
            await context.abort(self._grpc.StatusCode.INVALID_ARGUMENT, str(error))
        reply = await self._checked(context, f"{path}/infer", body, length)
        return infer_response(reply.body, int(reply.headers[HEADER_LENGTH]))

    async def _health(self, message: str, what: str, path: str, context: Any) -> Any:
        """Yes or no, which in HTTP are 200 and 503."""
        reply = await self._reply(context, path)
        if reply.status not in (200, 503):
            await self._abort(context, reply)
        return inference_message(message)(**{what: reply.status == 200})

    async def _path(self, model: str, version: str, context: Any) -> str:
        """The path of a model, or of one version; NOT_FOUND for what is no name."""
        if not model or "/" in model + version:
            await context.abort(
                self._grpc.StatusCode.NOT_FOUND, f"There is no model {model[:100]!r} {version[:100]!r}."
            )
        return f"/v2/models/{model}" + (f"/versions/{version}" if version else "")

    async def _checked(self, context: Any, path: str, body: bytes | None = None, head_length: int = 0) -> HttpReply:
        """A response that is no error; an error ends the call."""
        reply = await self._reply(context, path, body, head_length)
        if reply.status >= 400:
            await self._abort(context, reply)
        context.set_trailing_metadata(_told(reply))
        return reply

    async def _abort(self, context: Any, reply: HttpReply) -> None:
        usual = "INVALID_ARGUMENT" if reply.status < 500 else "INTERNAL"
        problem = json.loads(reply.body or b"{}")
        code, detail = problem.get("code", "internal_error"), problem.get("detail", "The service failed.")
        metadata = (*_told(reply), ("problem", code))
        await context.abort(self._grpc.StatusCode[CODES.get(reply.status, usual)], f"{code}: {detail}", metadata)

    async def _reply(self, context: Any, path: str, body: bytes | None = None, head_length: int = 0) -> HttpReply:
        """The app's response to one request. A client that goes away disconnects from the app as well."""
        gone, reply = asyncio.Event(), HttpReply()
        waiting: list[Message] = [{"type": "http.request", "body": body or b"", "more_body": False}]

        async def receive() -> Message:
            if waiting:
                return waiting.pop()
            await gone.wait()
            return {"type": "http.disconnect"}

        scope = _scope(self._settings, context, path, body, head_length)
        task = asyncio.ensure_future(self._served(scope, receive, reply))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            await asyncio.shield(task)
        finally:
            gone.set()
        return reply

    async def _served(self, scope: dict[str, Any], receive: Any, reply: HttpReply) -> None:
        try:
            await self._app(scope, receive, reply.send)
        except Exception:  # as an HTTP server does: the problem was sent, the traceback is for the log
            logger.exception("exception in the application")


_CALLS = {
    "ServerLive": GrpcServer._live,
    "ServerReady": GrpcServer._ready,
    "ServerMetadata": GrpcServer._server_metadata,
    "ModelReady": GrpcServer._model_ready,
    "ModelMetadata": GrpcServer._model_metadata,
    "ModelInfer": GrpcServer._infer,
}


def _scope(settings: Settings, context: Any, path: str, body: bytes | None, head_length: int) -> dict[str, Any]:
    """The ASGI scope of a call."""
    given = {name: value for name, value in context.invocation_metadata() or () if isinstance(value, str)}
    headers = {name: given[name] for name in HEADERS if name in given}
    left = context.time_remaining()
    if "x-timeout-ms" not in headers and left is not None and left * 1000 < MAX_TIMEOUT_MS:
        headers["x-timeout-ms"] = str(max(1, round(left * 1000)))
    if body is not None:
        headers |= {"content-type": "application/octet-stream", "content-length": str(len(body))}
        headers[HEADER_LENGTH] = str(head_length)
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "2",
        "method": "GET" if body is None else "POST",
        "scheme": "http",
        "path": path,
        "raw_path": quote(path).encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": _client(context.peer()),
        "server": (settings.host, settings.grpc_port),
        "state": {},
    }


def _client(peer: str) -> tuple[str, int]:
    """Address and port of `ipv4:127.0.0.1:5000` or `ipv6:%5B::1%5D:5000`."""
    host, _, port = unquote(peer).partition(":")[2].rpartition(":")
    return host.strip("[]"), int(port) if port.isdigit() else 0


def _told(reply: HttpReply) -> tuple[tuple[str, str], ...]:
    return tuple((name, reply.headers[name]) for name in TOLD if name in reply.headers)
