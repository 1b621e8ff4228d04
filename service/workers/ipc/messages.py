"""What the processes tell each other: queries, answers and errors, as JSON documents and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from service.engine import Answer, Query
from service.engine.pending_requests import Timing
from service.engine.predictor import Result
from service.errors import Abandoned, BatchFailed, NotHeld, Overloaded
from service.workers.ipc.message_stream import Message
from service.workers.ipc.shared_memory_inputs import Slots
from triggers import errors

_ERRORS: dict[str, type[errors.FairtriggerError]] = {
    kind.__name__: kind
    for kind in (
        errors.NotFound, errors.RevisionConflict, errors.StoreUnavailable, errors.StoreError, errors.ArtifactCorrupt,
        errors.ArtifactUnsupported, errors.ArtifactMismatch, errors.ArtifactUntrusted, errors.ModelError, BatchFailed,
        Abandoned, NotHeld,
    )
}  # fmt: skip


def pack_queries(queries: Sequence[Query], slots: Slots, taken: Sequence[int]) -> list[list[Any]]:
    """Put the inputs into slots; [slot, length, every other field of the query] each."""
    return [[slot, slots.write(slot, query.item), *query[1:]] for slot, query in zip(taken, queries, strict=True)]


def unpack_queries(packed: Sequence[Sequence[Any]], slots: Slots) -> list[Query]:
    """The queries whose inputs lie in slots."""
    return [
        Query(slots.read(slot, length), choice, twin, key, tuple(shadows))
        for slot, length, choice, twin, key, shadows in packed
    ]


def pack_results(answers: Sequence[Result], timings: Sequence[Timing]) -> Message:
    """A request's outcome."""
    return {"answers": [_packed(each) for each in answers], "timings": [list(each) for each in timings]}


def unpack_results(message: Message) -> tuple[list[Result], list[Timing]]:
    """A request's outcome. Raises the error that it is."""
    if "error" in message:
        raise unpack_error(message["error"])
    answers = [_result(values) for values in message["answers"]]
    return answers, [Timing(*values) for values in message["timings"]]


def pack_error(error: errors.FairtriggerError) -> Message:
    """An error by its kind and text."""
    if isinstance(error, Overloaded):
        return {"kind": "Overloaded", "text": str(error), "retry_after": error.retry_after}
    kind = next((name for name, each in _ERRORS.items() if isinstance(error, each)), "BatchFailed")
    return {"kind": kind, "text": str(error)}


def unpack_error(message: Message) -> errors.FairtriggerError:
    """The error again."""
    if message["kind"] == "Overloaded":
        return Overloaded(message["text"], message["retry_after"])
    return _ERRORS[message["kind"]](message["text"])


def _packed(result: Result) -> list[Any]:
    if isinstance(result, errors.InputError):
        return [result.code, str(result)]
    *values, shadows = result
    return [*values, list(shadows.items())]


def _result(values: Sequence[Any]) -> Result:
    return errors.InputError(*values) if len(values) == 2 else _answer(values)


def _answer(values: Sequence[Any]) -> Answer:
    scores, version, digest, revision, bare, policy, shadows = values
    beside = {other: tuple(found) for other, found in shadows}
    return Answer(tuple(scores), version, digest, revision, bare and tuple(bare), policy, beside)
