"""Responses as Open Inference Protocol V2 tensors, in JSON or with the binary extension."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from service.api.problem_details import Problem, to_problem
from service.api.v2.request import ParsedInferRequest
from service.api.v2.schemas import TensorName
from service.api.v2.v2_tensors import V2Tensor
from service.engine import ItemResult, RequestResult, Scored, ServedModel
from service.errors import ProblemError
from triggers.store.store import version_name


def infer_body(
    model: ServedModel, infer_request: ParsedInferRequest, result: RequestResult, *, trusted: bool
) -> tuple[bytes, int | None]:
    """The response body, and the length of its JSON where bytes follow. Raises ProblemError if an input is unusable.

    The protocol has no error per input, so an unusable input fails its whole request, and nothing of it is counted.
    """
    _refuse_failed(result.items)
    answers = [(item_result, item_result.answer) for item_result in result.items if item_result.answer]
    tensors = _tensors(
        model, answers, twins=all(item_result.wanted.twin for item_result, _ in answers), trusted=trusted
    )
    chosen = {name: tensors[name] for name in infer_request.outputs or tensors}
    binary = {
        name: tensor.binary()
        for name, tensor in chosen.items()
        if infer_request.outputs.get(name, infer_request.binary)
    }
    head = orjson.dumps(_document(model, infer_request, result, chosen, binary))
    return b"".join([head, *binary.values()]), len(head) if binary else None


def _refuse_failed(outcomes: Sequence[ItemResult]) -> None:
    failed = [
        (number, to_problem(item_result.error)) for number, item_result in enumerate(outcomes) if item_result.error
    ]
    if not failed:
        return
    number, problem = failed[0]
    detail = f"Input {number}: {problem.detail}" if len(outcomes) > 1 else problem.detail
    places = [_place(number, problem) for number, problem in failed]
    raise ProblemError(problem.status, problem.code, detail, headers=problem.headers, errors=places)


def _place(number: int, problem: Problem) -> dict[str, Any]:
    return problem.body() | {"loc": ["inputs", str(number)]}


def _tensors(
    model: ServedModel, answers: Sequence[tuple[ItemResult, Scored]], *, twins: bool, trusted: bool
) -> dict[TensorName, V2Tensor]:
    """All outputs by name. Records the predictions."""
    labels, rows = model.classifier.labels, len(answers)
    ids = [
        model.prediction_log.record_prediction(answer, item_result.wanted.group, trusted=trusted)
        for item_result, answer in answers
    ]
    scores = [answer.scores for _, answer in answers]
    predicted = [model.label_of_scores(row) for row in scores]
    tensors: dict[TensorName, V2Tensor] = {
        "scores": _matrix(scores),
        "label": V2Tensor("BYTES", (rows,), [labels[index] for index in predicted]),
        "prediction_id": V2Tensor("BYTES", (rows,), ids),
        "trigger": V2Tensor("BYTES", (rows,), [version_name(answer.version) for _, answer in answers]),
        "truncated": V2Tensor("BOOL", (rows,), [item_result.truncated for item_result, _ in answers]),
    }
    if twins:
        bare = [answer.baseline_scores or () for _, answer in answers]
        alone = [model.label_of_scores(row) for row in bare]
        tensors["twin_scores"] = _matrix(bare)
        tensors["twin_label"] = V2Tensor("BYTES", (rows,), [labels[index] for index in alone])
        tensors["flipped"] = V2Tensor(
            "BOOL", (rows,), [one != other for one, other in zip(predicted, alone, strict=True)]
        )
    return tensors


def _matrix(rows: Sequence[Sequence[float]]) -> V2Tensor:
    return V2Tensor("FP32", (len(rows), len(rows[0])), [value for row in rows for value in row])


def _document(
    model: ServedModel,
    infer_request: ParsedInferRequest,
    result: RequestResult,
    chosen: Mapping[TensorName, V2Tensor],
    binary: Mapping[TensorName, bytes],
) -> dict[str, Any]:
    used = {answer.version: answer for answer in (item_result.answer for item_result in result.items) if answer}
    version = version_name(next(iter(used))) if len(used) == 1 else "mixed"
    document: dict[str, Any] = {"model_name": model.name, "model_version": version}
    if infer_request.id is not None:
        document["id"] = infer_request.id
    document["parameters"] = _parameters(result, version, list(used.values()))
    if fault := model.fault:
        document["parameters"]["fault"] = fault
    document["outputs"] = [_output(name, tensor, binary.get(name)) for name, tensor in chosen.items()]
    return document


def _parameters(result: RequestResult, version: str, used: Sequence[Scored]) -> dict[str, str | int | float]:
    policies = {item_result.answer.policy for item_result in result.items if item_result.answer}
    parameters: dict[str, str | int | float] = {
        "trigger_version": version,
        "policy": policies.pop() if len(policies) == 1 else "mixed",
        "revision": max(answer.revision for answer in used),
        "decode_ms": round(result.decode * 1e3, 3),
        "queue_ms": round(result.queue * 1e3, 3),
        "infer_ms": round(result.infer * 1e3, 3),
        "batch_size": max((timing.batch_size for timing in result.timings), default=0),
    }
    if len(used) == 1 and used[0].digest:
        parameters["trigger_sha256"] = used[0].digest
    return parameters


def _output(name: TensorName, tensor: V2Tensor, binary: bytes | None) -> dict[str, Any]:
    place = {"data": tensor.data} if binary is None else {"parameters": {"binary_data_size": len(binary)}}
    return {"name": name, "datatype": tensor.datatype, "shape": tensor.shape, **place}
