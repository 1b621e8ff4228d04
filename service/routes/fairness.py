"""GET fairness: what the served predictions looked like, group by group, with intervals."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from service.auth import Bearer, is_admin
from service.lookup import Model, RunningService
from service.monitor import BY
from service.windows import MINUTES

router = APIRouter(tags=["fairness"])


@router.get("/v1/models/{model}/fairness", summary="Live fairness statistics")
def show_fairness(
    request: Request,
    service: RunningService,
    model: Model,
    bearer: Bearer,
    window: Annotated[str, Query(description=f"one of {', '.join(MINUTES)}", examples=["1h"])] = "1h",
    by: Annotated[str, Query(description=f"one of {', '.join(BY)}", examples=["version"])] = "version",
    attributes: Annotated[
        str, Query(description="of groups like sex=female,age=old: the attributes to compare by", max_length=200)
    ] = "",
) -> dict[str, Any]:
    """Counts of the window's predictions per trigger version, and every figure that follows from them.

    With the admin token they are exact and live. Without it they are what was disclosed of sealed hours: groups with
    fewer than `k_min` predictions in a cell are left out, also from totals, and windows are whole hours.

    Each rate and gap has an interval (95 %), or null and a reason where it is undefined. `bare` is the model without a
    trigger. `shadows` are versions whose answers nobody got; they count nowhere else. `twins` counts the inputs that
    ran both ways, and `paired` is the gain on them; `front` compares versions, `alarms` is the evidence of the guard's
    tests, `possible_loss` says what may be missing.
    """
    chosen = tuple(sorted({name.strip() for name in attributes.split(",")} - {""}))
    exact = is_admin(request.scope)
    return service.monitor.fairness(model.name, window, by, chosen, exact=exact)
