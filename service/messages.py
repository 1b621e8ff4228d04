"""What the processes tell each other: queries, answers, errors and the triggers in use, as JSON documents and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from service.batcher import Abandoned, BatchFailed, Overloaded, Timing
from service.predictor import Answer, Predictor, Query
from service.shared_slots import Slots
from service.wire import Message
from triggers import errors

_ERRORS: dict[str, type[errors.FairtriggerError]] = {
    kind.__name__: kind
    for kind in (
        errors.NotFound, errors.RevisionConflict, errors.StoreUnavailable, errors.StoreError, errors.ArtifactCorrupt,
        errors.ArtifactUnsupported, errors.ArtifactMismatch, errors.ModelError, BatchFailed, Abandoned,
    )
}  # fmt: skip
_OPTIONS = tuple(field.name for field in fields(Query) if field.name != "item")


@dataclass(frozen=True)
class View:
    """The triggers that the inference process uses now, as the others need to know them."""

    champion: int | None
    digest: str | None
    revision: int
    groups_overlap: bool

    @classmethod
    def of(cls, predictor: Predictor) -> View:
        """What a predictor uses now."""
        snapshot, champion = predictor.snapshot, predictor.champion
        return cls(snapshot.champion, champion.digest, snapshot.revision, predictor.groups_overlap)


def pack_queries(queries: Sequence[Query], slots: Slots, taken: Sequence[int]) -> list[list[Any]]:
    """Put the inputs into slots; [slot, length, every other field of the query] each."""
    return [
        [slot, slots.write(slot, query.item), *(getattr(query, name) for name in _OPTIONS)]
        for slot, query in zip(taken, queries, strict=True)
    ]


def unpack_queries(packed: Sequence[Sequence[Any]], slots: Slots) -> list[Query]:
    """The queries whose inputs lie in slots."""
    return [
        Query(slots.read(slot, length), **dict(zip(_OPTIONS, map(_hashable, options), strict=True)))
        for slot, length, *options in packed
    ]


def pack_results(answers: Sequence[Answer], timings: Sequence[Timing]) -> Message:
    """A request's outcome."""
    return {"answers": [_values(each) for each in answers], "timings": [_values(each) for each in timings]}


def unpack_results(message: Message) -> tuple[list[Answer], list[Timing]]:
    """A request's outcome. Raises the error that it is."""
    if "error" in message:
        raise unpack_error(message["error"])
    answers = [Answer(*map(_hashable, values)) for values in message["answers"]]
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


def _values(record: Any) -> list[Any]:
    return [getattr(record, field.name) for field in fields(record)]


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
