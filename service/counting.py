"""From answers to counts: what one model's predictions and their late labels add to the ledger."""

from __future__ import annotations

import time
from collections.abc import Sequence

from service.event import Event, Feedback
from service.ledger import Ledger
from service.ledger_store import Outcome
from service.metrics import Metrics
from service.periods import LABEL_DAYS, MINUTES_PER_DAY
from service.predictor import Answer
from service.problems import ProblemError
from service.receipts import Nonces, Receipts
from service.schemas import FeedbackItem
from triggers.errors import InputError


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
        self._nonces = Nonces()

    def predicted(self, answer: Answer, group: str | None) -> str | None:
        """Count an answer and return its prediction id, None if statistics are off. Memory only: nothing waits."""
        if not self._on:
            return None
        name = self._ledger.admit(self._model, group)
        prediction, bare = best(answer.scores), None if answer.bare is None else best(answer.bare)
        shadows = tuple([(each, best(scores)) for each, scores in answer.shadows.items()]) if answer.shadows else ()
        minute, nonce = int(time.time() // 60), self._nonces.take()
        event = Event(self._model, minute, answer.version, prediction, name, bare, nonce, shadows=shadows)
        self._ledger.record(event)
        for shadow in event.of_shadows():
            self._ledger.record(shadow)
        version = "none" if answer.version is None else f"v{answer.version}"
        self._metrics.child(self._metrics.predictions, self._model, version).inc()
        for number, _ in shadows:
            self._metrics.child(self._metrics.shadows, self._model, f"v{number}").inc()
        if bare is not None and bare != prediction:
            self._metrics.flips.labels(self._model).inc()
        return self._receipts.seal(event)

    def learn(self, items: Sequence[FeedbackItem]) -> list[Outcome | InputError]:
        """Enter late labels and groups; what cannot be used is returned in its place. Raises StoreUnavailable."""
        if not self._on:
            raise ProblemError(409, "statistics_off", "This service counts nothing: start it with statistics=on.")
        opened = [self._opened(item) for item in items]
        told = [entry for entry in opened if isinstance(entry, Feedback)]
        shadows = [entry._replace(event=shadow) for entry in told for shadow in entry.event.of_shadows()]
        outcomes = iter(self._ledger.feedback(told + shadows))
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
