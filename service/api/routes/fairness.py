"""Fairness routes: live statistics of the served predictions by group, with intervals."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from service.api.auth_dependencies import Bearer, is_admin
from service.api.dependencies import Model, Runtime
from service.api.pooled_route import PooledRoute
from service.api.schemas_fairness import FairnessOut
from service.fairness import GROUPINGS, SERIES_STEPS, WINDOW_MINUTES

router = APIRouter(route_class=PooledRoute, tags=["fairness"])

Window = Annotated[str, Query(description=f"one of {', '.join(WINDOW_MINUTES)}", examples=["1h"])]
By = Annotated[str, Query(description=f"one of {', '.join(GROUPINGS)}", examples=["version"])]
Attributes = Annotated[
    str, Query(description="of groups like sex=female,age=old: the attributes to compare by", max_length=200)
]


@router.get(
    "/v1/models/{model}/fairness",
    summary="Live fairness statistics",
    response_model=None,
    responses={200: {"model": FairnessOut, "description": "Every figure, or null and a reason"}},
)
def show_fairness(
    request: Request,
    service: Runtime,
    model: Model,
    bearer: Bearer,
    window: Window = "1h",
    by: By = "version",
    attributes: Attributes = "",
) -> dict[str, Any]:
    """Counts of the window's predictions per trigger version, and every figure that follows from them.

    With the admin token they are exact and live. Without it they are what was disclosed of sealed hours, by default a
    day later and with noise: small groups are left out, also from totals, and windows are whole hours. `disclosure`
    says how.

    Each rate and gap has an interval (95 %), or null and a reason where it is undefined. `bare` is the model without a
    trigger. `shadows` are versions whose answers nobody got; they count nowhere else. `twins` counts the inputs that
    ran both ways, and `paired` is the gain on them; `front` compares versions, `alarms` is the evidence of the guard's
    tests, `possible_loss` says what may be missing.
    """
    exact = is_admin(request.scope)
    return service.monitor.fairness_report(model.name, window, by, _names(attributes), exact=exact)


@router.get("/v1/models/{model}/fairness/series", summary="Live fairness over time")
def show_series(
    request: Request,
    service: Runtime,
    model: Model,
    bearer: Bearer,
    window: Window = "24h",
    step: Annotated[
        str | None,
        Query(description=f"one of {', '.join(SERIES_STEPS)}; by default what suits a chart", examples=["15m"]),
    ] = None,
    by: By = "version",
    attributes: Attributes = "",
) -> dict[str, Any]:
    """The window in `points` of one step each, oldest first; steps without predictions are left out.

    Figures, intervals and disclosure are those of `/fairness`: without the admin token steps are whole sealed hours.
    """
    exact = is_admin(request.scope)
    return service.monitor.fairness_series(model.name, window, step, by, _names(attributes), exact=exact)


def _names(attributes: str) -> tuple[str, ...]:
    return tuple(sorted({name.strip() for name in attributes.split(",")} - {""}))
