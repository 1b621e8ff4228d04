"""Messages between processes: items, results and errors as JSON documents, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from service.engine import BatchItem, Scored
from service.engine.batching import BatchTiming
from service.engine.predictor import BatchResult
from service.errors import BatchFailed, ClientDisconnected, Overloaded, VersionNotLoaded
from service.workers.ipc.message_stream import Message
from service.workers.ipc.shared_memory_inputs import SharedSlots
from triggers import errors

_ERRORS: dict[str, type[errors.FairtriggerError]] = {
    kind.__name__: kind
    for kind in (
        errors.NotFound, errors.RevisionConflict, errors.StoreUnavailable, errors.StoreError, errors.ArtifactCorrupt,
        errors.ArtifactUnsupported, errors.ArtifactMismatch, errors.ArtifactUntrusted, errors.EndpointFailed,
        errors.ModelError, BatchFailed, ClientDisconnected, VersionNotLoaded,
    )
}  # fmt: skip


def pack_queries(batch_items: Sequence[BatchItem], slots: SharedSlots, taken: Sequence[int]) -> list[list[Any]]:
    """Write the inputs into slots; [slot, length, every other field of the item] each."""
    return [
        [slot, slots.write(slot, batch_item.item), *batch_item[1:]]
        for slot, batch_item in zip(taken, batch_items, strict=True)
    ]


def unpack_queries(packed: Sequence[Sequence[Any]], slots: SharedSlots) -> list[BatchItem]:
    """The items whose inputs are in slots."""
    return [
        BatchItem(slots.read(slot, length), choice, twin, key, tuple(shadows))
        for slot, length, choice, twin, key, shadows in packed
    ]


def pack_results(answers: Sequence[BatchResult], timings: Sequence[BatchTiming]) -> Message:
    """A request's results and timings as a message."""
    return {"answers": [_packed(each) for each in answers], "timings": [list(each) for each in timings]}


def unpack_results(message: Message) -> tuple[list[BatchResult], list[BatchTiming]]:
    """A request's results and timings. Raises the error in the message."""
    if "error" in message:
        raise unpack_error(message["error"])
    answers = [_result(values) for values in message["answers"]]
    return answers, [BatchTiming(*values) for values in message["timings"]]


def pack_error(error: errors.FairtriggerError) -> Message:
    """An error by its kind and text."""
    if isinstance(error, Overloaded | errors.EndpointUnavailable):
        kind = "Overloaded" if isinstance(error, Overloaded) else "EndpointUnavailable"
        return {"kind": kind, "text": str(error), "retry_after": error.retry_after}
    kind = next((name for name, each in _ERRORS.items() if isinstance(error, each)), "BatchFailed")
    return {"kind": kind, "text": str(error)}


def unpack_error(message: Message) -> errors.FairtriggerError:
    """The inverse of `pack_error`."""
    if message["kind"] == "Overloaded":
        return Overloaded(message["text"], message["retry_after"])
    if message["kind"] == "EndpointUnavailable":
        return errors.EndpointUnavailable(message["text"], message["retry_after"])
    return _ERRORS[message["kind"]](message["text"])


def _packed(result: BatchResult) -> list[Any]:
    if isinstance(result, errors.InputError):
        return [result.code, str(result)]
    *values, shadows = result
    return [*values, list(shadows.items())]


def _result(values: Sequence[Any]) -> BatchResult:
    return errors.InputError(*values) if len(values) == 2 else _answer(values)


def _answer(values: Sequence[Any]) -> Scored:
    scores, version, digest, revision, bare, policy, shadows = values
    shadow_scores = {other: tuple(found) for other, found in shadows}
    return Scored(tuple(scores), version, digest, revision, bare and tuple(bare), policy, shadow_scores)
