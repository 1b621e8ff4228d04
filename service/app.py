"""The composition root: `create_app` puts the service together; nothing else constructs anything."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.types import ASGIApp

from service.api import problem_details
from service.api.dashboard import routes as dashboard
from service.api.reference import routes as reference
from service.api.routes import fairness, feedback, health, models, observations, predict, rollout, triggers
from service.api.schemas import ProblemDocument
from service.api.v2 import infer_route, routes
from service.config import Settings
from service.engine import LoadedModels, LocalBackend, load_models, set_torch_threads
from service.rollout import open_trigger_store
from service.runtime import ModelBackends, ServiceRuntime
from service.security import table_role
from service.security.permissions import methods_at
from service.server.request_middleware import RequestMiddleware
from service.telemetry import Metrics, Tracing, TracingMiddleware
from triggers.model import FrozenClassifier
from triggers.store import Store

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

DESCRIPTION = """A frozen classifier, served under a learned fairness trigger that is swapped while traffic flows.

Every answer names the trigger version that computed it. Errors are `application/problem+json` (RFC 9457).
"""
NO_TELEMETRY: Any = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
"""Turns off FastAPI's own telemetry (0.16x on), which puts query strings, with groups, in spans, and bodies in logs."""
ROUTERS = (predict, feedback, observations, fairness, models, triggers, rollout, health, routes, infer_route)
PAGES = (dashboard, reference)


class Application(FastAPI):
    """FastAPI behind RequestMiddleware, inside a span if tracing is on."""

    def build_middleware_stack(self) -> ASGIApp:
        """Tracing, if on, around RequestMiddleware around FastAPI's own stack."""
        stack: ASGIApp = RequestMiddleware(super().build_middleware_stack(), self.state.running)
        return TracingMiddleware(stack, self.state.tracing) if self.state.tracing else stack


def create_app(
    settings: Settings,
    store: Store | None = None,
    classifiers: Sequence[FrozenClassifier] | None = None,
    span_exporter: SpanExporter | None = None,
) -> FastAPI:
    """The whole service as an ASGI app. Raises ConfigError or ModelError if it cannot be built.

    Loads the models and opens nothing else: store, ledger and threads start with the lifespan, or
    `ServiceRuntime.open`. `store`, `classifiers` and `span_exporter` default to those of the settings; a `store` passed
    in is not closed.
    """
    set_torch_threads(settings, settings.device)
    loaded = LoadedModels(classifiers) if classifiers else load_models(settings, settings.device)
    metrics = Metrics()

    def opened() -> Store:
        return store or open_trigger_store(settings)

    def backends(shared: Store) -> ModelBackends:
        local = [LocalBackend(classifier, shared, settings, metrics) for classifier in loaded.classifiers]
        return ModelBackends(local, loaded.failed)

    return assemble(ServiceRuntime(settings, opened, metrics, backends, owns_store=store is None), span_exporter)


def assemble(running: ServiceRuntime, span_exporter: SpanExporter | None = None) -> FastAPI:
    """The FastAPI app around a runtime, whichever processes compute its models."""
    settings = running.settings
    about: dict[str, Any] = {"title": "fairtrigger", "version": _version(), "description": DESCRIPTION}
    about |= {"docs_url": None, "redoc_url": None}  # both pages load scripts of third parties
    app = Application(**about, lifespan=_lifespan, telemetry=NO_TELEMETRY)
    app.state.running, app.state.settings = running, settings
    traced = span_exporter or settings.trace_endpoint
    app.state.tracing = Tracing(settings, app.version, span_exporter) if traced else None
    problem_details.install_error_handlers(app, methods_at)
    for module in (*ROUTERS, *PAGES):
        app.include_router(module.router, responses=_PROBLEMS)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


@cache
def _version() -> str:
    try:
        return version("fairtrigger")
    except PackageNotFoundError:  # run from a checkout that was never installed
        return "0+source"


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    running: ServiceRuntime = app.state.running
    try:
        if app.state.tracing:
            app.state.tracing.start()
        await running.start()
        yield
    finally:
        await running.close()
        if app.state.tracing:
            await running.shutdown.step("the traces", app.state.tracing.close)


_PROBLEMS: dict[int | str, dict[str, Any]] = {
    code: {
        "description": text,
        "content": {problem_details.MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{name}"}}},
    }
    for name in [ProblemDocument.__name__]
    for code, text in (("4XX", "The request cannot be served as it is"), ("5XX", "The service cannot serve it now"))
}


def _openapi(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, with the schemas that only hand-written operations refer to."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        for model in (*predict.BODY_SCHEMAS, *infer_route.BODY_SCHEMAS, ProblemDocument):
            schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas |= schema.pop("$defs", {}) | {model.__name__: schema}
        _say_who_may(document, needs_key=not app.state.running.keyring.open)
        app.openapi_schema = document
    return app.openapi_schema


def _say_who_may(document: dict[str, Any], needs_key: bool) -> None:
    """Add each operation's role as `x-role`, and its `security` under these settings."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            role = table_role(method.upper(), path)
            operation["x-role"] = role
            closed = role == "admin" or (needs_key and role != "nothing")
            operation["security"] = [{"HTTPBearer": []}] if closed else [{}, {"HTTPBearer": []}]
