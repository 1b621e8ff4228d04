"""The observations route: predictions that another system made are counted here."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Request

from service.api.auth_dependencies import trusted_by_guard
from service.api.dependencies import Model, Runtime
from service.api.pooled_route import PooledRoute
from service.api.problem_details import Problem, to_problem
from service.api.schemas import ProblemDocument
from service.api.schemas_observations import ObservationBody, ObservationItem, ObservationResponse, ObservationResult
from service.engine.observation_log import CountedObservation, ObservationOutcome, ObservedPrediction

router = APIRouter(route_class=PooledRoute, tags=["observations"])

_ONE = {"observation_id": "order-81-face-2", "version": "v3", "prediction": "attractive", "group": "female"}
_EXAMPLES = {
    "one": {"summary": "a label that was answered under v3", "value": _ONE},
    "many": {
        "summary": "scores, a twin, a label that is known already, a time",
        "value": [
            _ONE | {"observation_id": "order-82", "baseline_prediction": "plain", "label": "attractive"},
            {"observation_id": "order-83", "version": None, "scores": {"plain": 0.3, "attractive": 0.7}},
            _ONE | {"observation_id": "order-84", "digest": "sha256:5f2c...", "time": "2026-11-02T09:30:00Z"},
        ],
    },
}


@router.post(
    "/v1/models/{model}/observations",
    summary="Count predictions that another system made",
    response_model_exclude_none=True,
)
def observe(
    request: Request,
    service: Runtime,
    model: Model,
    body: Annotated[ObservationBody, Body(openapi_examples=_EXAMPLES)],
) -> ObservationResponse:
    """One observation or a list, each counted once: telling the same again changes nothing and gets the same answer.

    An `observation_id` is known for 8 days; the same id with other content is refused. Scores are decided by the
    model's own rule. Labels and groups that become known later go to `/feedback`, with the `prediction_id` of the
    result. In a list, a bad entry gets an `error` in its place and the others are counted.
    """
    given: list[ObservationItem | Problem] = [body] if isinstance(body, ObservationItem) else list(body)
    told = [_observed(each) for each in given if isinstance(each, ObservationItem)]
    trusted = trusted_by_guard(service.settings, request.scope)
    outcomes = iter(model.observation_log.observe(told, trusted=trusted))
    results = [next(outcomes) if isinstance(each, ObservationItem) else each for each in given]
    if isinstance(body, ObservationItem) and isinstance(results[0], Exception):
        raise results[0]
    return ObservationResponse(results=[_result(each) for each in results])


def _observed(item: ObservationItem) -> ObservedPrediction:
    version = None if item.version in (None, "none") else int(item.version.removeprefix("v"))
    return ObservedPrediction(
        item.observation_id,
        version,
        item.prediction,
        item.scores,
        item.baseline_prediction,
        item.group,
        item.label,
        item.digest,
        item.time,
    )


def _result(outcome: ObservationOutcome | Problem) -> ObservationResult:
    if isinstance(outcome, CountedObservation):
        status = "counted" if outcome.fresh else "counted_before"
        return ObservationResult(status=status, prediction_id=outcome.prediction_id)
    problem = outcome if isinstance(outcome, Problem) else to_problem(outcome)
    return ObservationResult(status="refused", error=ProblemDocument(**problem.body()))
