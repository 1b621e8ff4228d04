"""From answers to counts: what one model's predictions and their late labels add to the ledger."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from prometheus_client import Counter

from service.event import Cell, Event, Feedback
from service.ledger import Ledger
from service.ledger_store import Outcome
from service.metrics import Metrics
from service.periods import LABEL_DAYS, MINUTES_PER_DAY
from service.predictor import Answer
from service.problems import ProblemError
from service.receipts import KINDS, Ids, Receipts, packed
from service.schemas import FeedbackItem
from triggers.errors import InputError

Shadows = tuple[tuple[int, int], ...]


class Kind(NamedTuple):
    """What predictions have in common that are counted together, found out once: a request has little time for it."""

    cells: Sequence[Cell]
    counters: Sequence[Counter]
    told: bytes


class Counting:
    """Counts the predictions of one model and hands out the receipts by which labels come back; both only if `on`."""

    def __init__(
        self,
        model: str,
        labels: Sequence[str],
        ledger: Ledger,
        receipts: Receipts,
        metrics: Metrics,
        *,
        on: bool = True,
    ) -> None:
        self._model, self._labels, self._on = model, tuple(labels), on
        self._ledger, self._receipts, self._metrics = ledger, receipts, metrics
        self._ids = Ids(receipts, model)
        self._kind = lru_cache(maxsize=KINDS)(self._new_kind)

    def predicted(self, answer: Answer, group: str | None, *, trusted: bool = False) -> str | None:
        """Count an answer and return its prediction id, None if statistics are off. Memory only: nothing waits.

        A `trusted` one counts for a guard that is told whom to trust.
        """
        if not self._on:
            return None
        name = self._ledger.admit(self._model, group)
        prediction, bare = best(answer.scores), None if answer.bare is None else best(answer.bare)
        shadows = tuple([(number, best(scores)) for number, scores in answer.shadows.items()])
        kind = self._kind(int(time.time() // 60), answer.version, prediction, name, bare, shadows, trusted)
        for cell in kind.cells:
            self._ledger.count(cell)
        for counter in kind.counters:
            self._metrics.tally.count(counter)
        return self._ids.take(kind.told)

    def _new_kind(
        self,
        minute: int,
        version: int | None,
        prediction: int,
        group: str,
        bare: int | None,
        shadows: Shadows,
        trusted: bool,
    ) -> Kind:
        event = Event(self._model, minute, version, prediction, group, bare, shadows=shadows, trusted=trusted)
        metrics, name = self._metrics, "none" if version is None else f"v{version}"
        counters = [metrics.predictions.labels(self._model, name)]
        counters += [metrics.shadows.labels(self._model, f"v{number}") for number, _ in shadows]
        if bare is not None and bare != prediction:
            counters.append(metrics.flips.labels(self._model))
        cells = [each.cell() for each in (event, *event.of_shadows(), *event.of_guard())]
        return Kind(cells, counters, packed(event))

    def learn(self, items: Sequence[FeedbackItem], *, trusted: bool = False) -> list[Outcome | InputError]:
        """Enter late labels and groups; what cannot be used is returned in its place. Raises StoreUnavailable.

        Only `trusted` ones count for a guard that is told whom to trust.
        """
        if not self._on:
            raise ProblemError(409, "statistics_off", "This service counts nothing: start it with statistics=on.")
        opened = [self._opened(item) for item in items]
        told = [entry for entry in opened if isinstance(entry, Feedback)]
        beside = [
            entry._replace(event=event)
            for entry in told
            for event in (*entry.event.of_shadows(), *(entry.event.of_guard() if trusted else ()))
        ]
        outcomes = iter(self._ledger.feedback(told + beside))
        return [next(outcomes) if isinstance(entry, Feedback) else entry for entry in opened]

    def _opened(self, item: FeedbackItem) -> Feedback | InputError:
        try:
            event = self._receipts.open(item.prediction_id, self._model)
            if event.minute < time.time() / 60 - LABEL_DAYS * MINUTES_PER_DAY:
                raise InputError("label_too_late", f"This prediction is more than {LABEL_DAYS} days old: too late.")
            return Feedback(event, self._index(item.label), item.group)
        except InputError as error:
            return error

    def _index(self, label: str | int | None) -> int | None:
        if label is None:
            return None
        if isinstance(label, int) and 0 <= label < len(self._labels):
            return label
        if isinstance(label, str) and label in self._labels:
            return self._labels.index(label)
        known = ", ".join(f"{index} {name!r}" for index, name in enumerate(self._labels))
        raise InputError("unknown_label", f"label is {str(label)[:100]!r}; this model knows {known}.")


def best(scores: Sequence[float]) -> int:
    """Index of the highest score: the predicted label."""
    return scores.index(max(scores))
