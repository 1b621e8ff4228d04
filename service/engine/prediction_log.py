"""The prediction log of one model: adds its predictions and their late labels to the ledger."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from prometheus_client import Counter

from service.engine.predictor import Scored
from service.errors import StatisticsOff
from service.ledger import Cell, Feedback, Ledger, PredictionEvent, PredictionIdCodec
from service.ledger.backend import FeedbackOutcome
from service.ledger.prediction_id import MAX_KINDS, PredictionIdPool, pack_event
from service.ledger.time_buckets import LABEL_DAYS, MINUTES_PER_DAY
from service.telemetry import Metrics
from triggers.errors import InputError
from triggers.metrics.label_values import label_index
from triggers.model.decision import DecisionRule

ShadowPredictions = tuple[tuple[int, int], ...]


class CountedKind(NamedTuple):
    """Ledger cells, metric counters and id payload of predictions that are counted alike; cached, to save time."""

    cells: Sequence[Cell]
    counters: Sequence[Counter]
    payload: bytes


class LabelReport(NamedTuple):
    """A late report on one prediction: its true label (name or index), its group, or both."""

    prediction_id: str
    label: str | int | float | bool | None = None
    group: str | None = None


class PredictionLog:
    """Counts the predictions of one model and issues the prediction ids that late labels name; both only if `on`."""

    def __init__(
        self,
        model: str,
        labels: Sequence[str],
        decision: DecisionRule,
        ledger: Ledger,
        codec: PredictionIdCodec,
        metrics: Metrics,
        *,
        on: bool = True,
    ) -> None:
        self._model, self._labels, self._on = model, tuple(labels), on
        self._label_of_scores = decision.label_of_scores
        self._ledger, self._codec, self._metrics = ledger, codec, metrics
        self._ids = PredictionIdPool(codec, model)
        self._kind = lru_cache(maxsize=MAX_KINDS)(self._new_kind)

    def record_prediction(self, answer: Scored, group: str | None, *, trusted: bool = False) -> str | None:
        """Count an answer and return its prediction id, None if statistics are off. Memory only: never waits.

        A `trusted` prediction also counts for a guard with `guard_keys`.
        """
        if not self._on:
            return None
        name = self._ledger.canonical_group(self._model, group)
        label_of = self._label_of_scores
        prediction = label_of(answer.scores)
        bare = None if answer.baseline_scores is None else label_of(answer.baseline_scores)
        shadows = tuple([(number, label_of(scores)) for number, scores in answer.shadows.items()])
        kind = self._kind(int(time.time() // 60), answer.version, prediction, name, bare, shadows, trusted)
        for cell in kind.cells:
            self._ledger.count(cell)
        for counter in kind.counters:
            self._metrics.tally.count(counter)
        return self._ids.next(kind.payload)

    def _new_kind(
        self,
        minute: int,
        version: int | None,
        prediction: int,
        group: str,
        bare: int | None,
        shadows: ShadowPredictions,
        trusted: bool,
    ) -> CountedKind:
        event = PredictionEvent(self._model, minute, version, prediction, group, bare, shadows=shadows, trusted=trusted)
        metrics, name = self._metrics, "none" if version is None else f"v{version}"
        counters = [metrics.predictions.labels(self._model, name)]
        counters += [metrics.shadows.labels(self._model, f"v{number}") for number, _ in shadows]
        if bare is not None and bare != prediction:
            counters.append(metrics.flips.labels(self._model))
        cells = [each.cell() for each in (event, *event.shadow_events(), *event.of_guard())]
        return CountedKind(cells, counters, pack_event(event))

    def apply_feedback(
        self, items: Sequence[LabelReport], *, trusted: bool = False
    ) -> list[FeedbackOutcome | InputError]:
        """Record late labels and groups: the outcome or error of each, in order. Waits for the ledger.

        Only `trusted` ones count for a guard with `guard_keys`. Raises StatisticsOff or StoreUnavailable.
        """
        if not self._on:
            raise StatisticsOff("This service counts nothing: start it with statistics=on.")
        opened = [self._open_id(item) for item in items]
        payload = [entry for entry in opened if isinstance(entry, Feedback)]
        derived = [
            entry._replace(event=event)
            for entry in payload
            for event in (*entry.event.shadow_events(), *(entry.event.of_guard() if trusted else ()))
        ]
        outcomes = iter(self._ledger.feedback(payload + derived))
        return [next(outcomes) if isinstance(entry, Feedback) else entry for entry in opened]

    def _open_id(self, item: LabelReport) -> Feedback | InputError:
        try:
            event = self._codec.open(item.prediction_id, self._model)
            if event.minute < time.time() / 60 - LABEL_DAYS * MINUTES_PER_DAY:
                raise InputError("label_too_late", f"This prediction is more than {LABEL_DAYS} days old: too late.")
            return Feedback(event, self._index(item.label), item.group)
        except InputError as error:
            return error

    def _index(self, label: str | int | float | bool | None) -> int | None:
        if label is None:
            return None
        if (index := label_index(label, self._labels)) is None:
            known = ", ".join(f"{index} {name!r}" for index, name in enumerate(self._labels))
            raise InputError("unknown_label", f"label is {str(label)[:100]!r}; this model knows {known}.")
        return index
