"""The feedback route: true labels and groups that become known after the prediction."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Request

from service.api.auth_dependencies import trusted_by_guard
from service.api.dependencies import Model, Runtime
from service.api.pooled_route import PooledRoute
from service.api.problem_details import Problem, to_problem
from service.api.schemas import FeedbackBody, FeedbackItem, FeedbackResponse, FeedbackResult, ProblemDocument
from service.engine.prediction_log import LabelReport
from triggers.errors import InputError

router = APIRouter(route_class=PooledRoute, tags=["feedback"])

_EXAMPLES = {
    "one": {"value": {"prediction_id": "AWJ4c2...", "label": "attractive"}},
    "many": {"value": [{"prediction_id": "AWJ4c2...", "label": 1}, {"prediction_id": "AaX0k9...", "group": "female"}]},
}


@router.post(
    "/v1/models/{model}/feedback", summary="Tell a true label or group later", response_model_exclude_none=True
)
def give_feedback(
    request: Request,
    service: Runtime,
    model: Model,
    body: Annotated[FeedbackBody, Body(openapi_examples=_EXAMPLES)],
) -> FeedbackResponse:
    """One piece of feedback or a list; sending the same again changes nothing.

    A label is a name, else an index (`1`, `"1"`, `1.0`), else, of two labels, `true` or `false`. The prediction is
    found by its `prediction_id`, which is sealed: an altered or foreign one is refused. A later label or group replaces
    an earlier one. In a list, a bad entry gets an `error` in its place and the others are counted.
    """
    given: list[FeedbackItem | Problem] = [body] if isinstance(body, FeedbackItem) else list(body)
    reports = [
        LabelReport(each.prediction_id, each.label, each.group) for each in given if isinstance(each, FeedbackItem)
    ]
    trusted = trusted_by_guard(service.settings, request.scope)
    outcomes = iter(model.prediction_log.apply_feedback(reports, trusted=trusted))
    results = [next(outcomes) if isinstance(each, FeedbackItem) else each for each in given]
    if isinstance(body, FeedbackItem) and isinstance(results[0], InputError):
        raise results[0]
    return FeedbackResponse(results=[_result(each) for each in results])


def _result(outcome: str | InputError | Problem) -> FeedbackResult:
    problem = to_problem(outcome) if isinstance(outcome, InputError) else outcome
    if isinstance(problem, Problem):
        return FeedbackResult(status="refused", error=ProblemDocument(**problem.body()))
    return FeedbackResult(status=str(outcome))
