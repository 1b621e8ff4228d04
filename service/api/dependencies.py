"""FastAPI dependencies of the routes: the runtime, the model and version in a path, the revision in If-Match.

All are coroutines: FastAPI runs a plain function in a thread, and a health check must not wait for a free one.
"""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import Depends, Header, Path, Request

from service.engine import ServedModel
from service.errors import ProblemError
from service.runtime import ServiceRuntime


async def get_runtime(request: Request) -> ServiceRuntime:
    """The app's runtime."""
    return cast(ServiceRuntime, request.app.state.running)


Runtime = Annotated[ServiceRuntime, Depends(get_runtime)]


def find_model(service: ServiceRuntime, name: str) -> ServedModel:
    """The model of this name. Raises ProblemError."""
    found = service.models.get(name)
    if found is None:
        if failed := service.failed.get(name):
            reason = " ".join(failed.reason.splitlines())
            raise ProblemError(503, "model_not_loaded", f"This model is not served, as it failed its check: {reason}")
        known = ", ".join(service.models) or "none"
        raise ProblemError(404, "unknown_model", f"There is no model {name[:100]!r} here; served: {known}.")
    return found


async def _model(service: Runtime, model: Annotated[str, Path(description="name of the model")]) -> ServedModel:
    return find_model(service, model)


Model = Annotated[ServedModel, Depends(_model)]


async def _version(
    version: Annotated[str, Path(pattern=r"^v?[1-9][0-9]{0,8}$", description="version, such as v3")],
) -> int:
    return int(version.removeprefix("v"))


Version = Annotated[int, Depends(_version)]


async def _chosen_version(
    version: Annotated[str, Path(pattern=r"^(none|v?[1-9][0-9]{0,8})$", description="version such as v3, or none")],
) -> str:
    return version if version == "none" else f"v{version.removeprefix('v')}"


ChosenVersion = Annotated[str, Depends(_chosen_version)]
"""A trigger's version as a name, such as v3; none is the bare model."""


async def _if_match(
    if_match: Annotated[str | None, Header(description='the ETag of GET rollout, such as "4"')] = None,
) -> int:
    if if_match is None:
        detail = 'Send If-Match with the ETag of GET rollout (for instance If-Match: "4"), so that no change is lost.'
        raise ProblemError(428, "if_match_missing", detail)
    revision = if_match.strip().removeprefix("W/").strip('"')
    if not revision.isascii() or not revision.isdigit() or len(revision) > 18:
        raise ProblemError(412, "revision_conflict", f"If-Match is {if_match[:100]!r}, not the ETag of GET rollout.")
    return int(revision)


IfMatch = Annotated[int, Depends(_if_match)]
