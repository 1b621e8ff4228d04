"""Answers as Open Inference Protocol V2 tensors, in JSON or with the binary extension."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from service.counting import best
from service.infer_request import Asked
from service.infer_schemas import TensorName
from service.predictor import Answer
from service.problems import Problem, ProblemError
from service.served import Outcome, Served, ServedModel
from service.tensors import Tensor
from triggers.store import version_name


def infer_body(model: ServedModel, asked: Asked, served: Served, *, trusted: bool) -> tuple[bytes, int | None]:
    """The response body, and the length of its JSON where bytes follow. Raises ProblemError if an input is unusable.

    This protocol has no place for the error of one input, so one that cannot be used fails its own request - never
    another one - and nothing of it is counted.
    """
    _refuse_failed(served.outcomes)
    answers = [(outcome, outcome.answer) for outcome in served.outcomes if outcome.answer]
    tensors = _tensors(model, answers, twins=all(outcome.wanted.twin for outcome, _ in answers), trusted=trusted)
    chosen = {name: tensors[name] for name in asked.outputs or tensors}
    binary = {name: tensor.binary() for name, tensor in chosen.items() if asked.outputs.get(name, asked.binary)}
    head = orjson.dumps(_document(model, asked, served, chosen, binary))
    return b"".join([head, *binary.values()]), len(head) if binary else None


def _refuse_failed(outcomes: Sequence[Outcome]) -> None:
    failed = [(number, outcome.problem) for number, outcome in enumerate(outcomes) if outcome.problem]
    if not failed:
        return
    number, problem = failed[0]
    detail = f"Input {number}: {problem.detail}" if len(outcomes) > 1 else problem.detail
    places = [_place(number, problem) for number, problem in failed]
    raise ProblemError(problem.status, problem.code, detail, headers=problem.headers, errors=places)


def _place(number: int, problem: Problem) -> dict[str, Any]:
    return problem.body() | {"loc": ["inputs", str(number)]}


def _tensors(
    model: ServedModel, answers: Sequence[tuple[Outcome, Answer]], *, twins: bool, trusted: bool
) -> dict[TensorName, Tensor]:
    """Every output there is. Counts the predictions."""
    labels, rows = model.classifier.labels, len(answers)
    ids = [model.counting.predicted(answer, outcome.wanted.group, trusted=trusted) for outcome, answer in answers]
    scores = [answer.scores for _, answer in answers]
    tensors: dict[TensorName, Tensor] = {
        "scores": _matrix(scores),
        "label": Tensor("BYTES", (rows,), [labels[best(row)] for row in scores]),
        "prediction_id": Tensor("BYTES", (rows,), ids),
        "trigger": Tensor("BYTES", (rows,), [version_name(answer.version) for _, answer in answers]),
        "truncated": Tensor("BOOL", (rows,), [outcome.truncated for outcome, _ in answers]),
    }
    if twins:
        bare = [answer.bare or () for _, answer in answers]
        flipped = [best(row) != best(other) for row, other in zip(scores, bare, strict=True)]
        tensors["twin_scores"] = _matrix(bare)
        tensors["twin_label"] = Tensor("BYTES", (rows,), [labels[best(row)] for row in bare])
        tensors["flipped"] = Tensor("BOOL", (rows,), flipped)
    return tensors


def _matrix(rows: Sequence[Sequence[float]]) -> Tensor:
    return Tensor("FP32", (len(rows), len(rows[0])), [value for row in rows for value in row])


def _document(
    model: ServedModel,
    asked: Asked,
    served: Served,
    chosen: Mapping[TensorName, Tensor],
    binary: Mapping[TensorName, bytes],
) -> dict[str, Any]:
    used = {answer.version: answer for answer in (outcome.answer for outcome in served.outcomes) if answer}
    version = version_name(next(iter(used))) if len(used) == 1 else "mixed"
    document: dict[str, Any] = {"model_name": model.name, "model_version": version}
    if asked.id is not None:
        document["id"] = asked.id
    document["parameters"] = _parameters(served, version, list(used.values()))
    document["outputs"] = [_output(name, tensor, binary.get(name)) for name, tensor in chosen.items()]
    return document


def _parameters(served: Served, version: str, used: Sequence[Answer]) -> dict[str, str | int | float]:
    policies = {outcome.answer.policy for outcome in served.outcomes if outcome.answer}
    parameters: dict[str, str | int | float] = {
        "trigger_version": version,
        "policy": policies.pop() if len(policies) == 1 else "mixed",
        "revision": max(answer.revision for answer in used),
        "decode_ms": round(served.decode * 1e3, 3),
        "queue_ms": round(served.queue * 1e3, 3),
        "infer_ms": round(served.infer * 1e3, 3),
        "batch_size": max((timing.batch_size for timing in served.timings), default=0),
    }
    if len(used) == 1 and used[0].digest:
        parameters["trigger_sha256"] = used[0].digest
    return parameters


def _output(name: TensorName, tensor: Tensor, binary: bytes | None) -> dict[str, Any]:
    place = {"data": tensor.data} if binary is None else {"parameters": {"binary_data_size": len(binary)}}
    return {"name": name, "datatype": tensor.datatype, "shape": tensor.shape, **place}
