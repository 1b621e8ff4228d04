"""The composition root: `create_app` puts the service together; nothing else constructs anything."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse
from starlette.types import ASGIApp

from service import problems
from service.access import Access
from service.beacon import replica_name
from service.dashboard import page as dashboard
from service.execution import use_threads
from service.hot_path import HotPath
from service.limits import BodyLimit, Observed
from service.metrics import Metrics
from service.parts import Parts, local_parts, open_trigger_store
from service.permissions import listed
from service.reference_page import reference_page
from service.routes import fairness, feedback, health, models, predict, rollout, triggers, v2, v2_infer
from service.running import Running
from service.schemas import ProblemDocument
from service.settings import Settings
from service.tracing import Traced, Tracing
from triggers.classifier import FrozenClassifier, load_bundle
from triggers.errors import ConfigError
from triggers.store import Store

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

DESCRIPTION = """A frozen classifier, served under a learned fairness trigger that is swapped while traffic flows.

Every answer names the trigger version that computed it. Errors are `application/problem+json` (RFC 9457).
"""
NO_TELEMETRY: Any = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
"""FastAPI's own, from its release 0.16x on, would put queries - groups - into spans, and bodies into logs."""
ROUTERS = (predict, feedback, fairness, models, triggers, rollout, health, v2, v2_infer, dashboard)


class Application(FastAPI):
    """FastAPI with the hot path, and a span around everything if there is tracing, in front of all it puts in front."""

    def build_middleware_stack(self) -> ASGIApp:
        """Everything around a request, outermost first."""
        stack: ASGIApp = HotPath(super().build_middleware_stack(), self.state.running)
        return Traced(stack, self.state.tracing) if self.state.tracing else stack


def create_app(
    settings: Settings,
    store: Store | None = None,
    classifiers: Sequence[FrozenClassifier] | None = None,
    span_exporter: SpanExporter | None = None,
) -> FastAPI:
    """The whole service as an ASGI app. Raises ConfigError or ModelError if it cannot be built.

    It reads the models and opens nothing else: store, ledger and threads begin with its lifespan, or `Running.open`.
    `store`, `classifiers` and `span_exporter` default to what the settings name; a store that is handed in is left
    open at the end.
    """
    use_threads(settings, settings.device)
    loaded = classifiers or [load_bundle(folder, settings.device, settings.factories) for folder in settings.models]
    _check_names([classifier.name for classifier in loaded])
    metrics, replica = Metrics(), replica_name()

    def opened() -> Store:
        return store or open_trigger_store(settings)

    def models(shared: Store) -> list[Parts]:
        return [local_parts(classifier, shared, settings, metrics, replica) for classifier in loaded]

    return assemble(Running(settings, opened, metrics, models, owns_store=store is None), span_exporter)


def assemble(running: Running, span_exporter: SpanExporter | None = None) -> FastAPI:
    """Routes and everything that stands around a request, for models wherever they are computed."""
    settings = running.settings
    about: dict[str, Any] = {"title": "fairtrigger", "version": _version(), "description": DESCRIPTION}
    about |= {"docs_url": None, "redoc_url": None}  # those load scripts of others
    app = Application(**about, lifespan=_lifespan, telemetry=NO_TELEMETRY)
    app.state.running, app.state.settings = running, settings
    traced = span_exporter or settings.trace_endpoint
    app.state.tracing = Tracing(settings, app.version, span_exporter) if traced else None
    problems.install(app)
    for module in ROUTERS:
        app.include_router(module.router, responses=_PROBLEMS)
    app.add_middleware(BodyLimit, limit=settings.max_body_bytes)
    app.add_middleware(Access, keyring=running.keyring, running=running)
    app.add_middleware(
        Observed,
        metrics=running.metrics,
        known_model=lambda name: name in running.models,
        draining=lambda: running.draining,
    )
    app.add_route("/docs", lambda _: HTMLResponse(reference_page(app.openapi())), include_in_schema=False)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def _check_names(names: Sequence[str]) -> None:
    if not names:
        raise ConfigError("There is no model to serve: give --model FOLDER, or FAIRTRIGGER_MODELS.")
    if twice := {name for name in names if names.count(name) > 1}:
        raise ConfigError(f"Two bundles share the name {sorted(twice)}: change `name` in one model.json.")


def _version() -> str:
    try:
        return version("fairtrigger")
    except PackageNotFoundError:  # run from a checkout that was never installed
        return "0+source"


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    running: Running = app.state.running
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
    code: {"description": text, "content": {problems.MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{name}"}}}}
    for name in [ProblemDocument.__name__]
    for code, text in (("4XX", "The request cannot be served as it is"), ("5XX", "The service cannot serve it now"))
}


def _openapi(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, with the schemas that only hand-written parts refer to."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        for model in (*predict.BODY_SCHEMAS, *v2_infer.BODY_SCHEMAS, ProblemDocument):
            schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas |= schema.pop("$defs", {}) | {model.__name__: schema}
        _say_who_may(document, needs_key=not app.state.running.keyring.open)
        app.openapi_schema = document
    return app.openapi_schema


def _say_who_may(document: dict[str, Any], needs_key: bool) -> None:
    """Every operation's role as `x-role`, and its `security` as these settings make it."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            role = listed(method.upper(), path)
            operation["x-role"] = role
            closed = role == "admin" or (needs_key and role != "nothing")
            operation["security"] = [{"HTTPBearer": []}] if closed else [{}, {"HTTPBearer": []}]
