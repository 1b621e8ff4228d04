"""From answers to counts: what one model's predictions and their late labels add to the ledger."""

from __future__ import annotations

import time
from collections.abc import Sequence

from service.event import Event, Feedback
from service.ledger import Ledger
from service.ledger_file import Outcome
from service.metrics import Metrics
from service.predictor import Answer
from service.receipts import Receipts
from service.schemas import FeedbackItem
from triggers.errors import InputError


class Counting:
    """Counts the predictions of one model and hands out the receipts by which labels come back."""

    def __init__(self, model: str, labels: Sequence[str], ledger: Ledger, receipts: Receipts, metrics: Metrics) -> None:
        self._model, self._labels = model, tuple(labels)
        self._ledger, self._receipts, self._metrics = ledger, receipts, metrics

    def predicted(self, answer: Answer, group: str | None) -> str:
        """Count an answer and return its prediction id. Memory only: nothing here waits."""
        name = self._ledger.admit(self._model, group)
        prediction, bare = best(answer.scores), None if answer.bare is None else best(answer.bare)
        shadows = tuple((version, best(scores)) for version, scores in answer.shadows.items())
        event = Event(self._model, int(time.time() // 60), answer.version, prediction, name, bare, shadows=shadows)
        for each in (event, *event.of_shadows()):
            self._ledger.record(each)
        version = "none" if answer.version is None else f"v{answer.version}"
        self._metrics.predictions.labels(self._model, version).inc()
        for shadow, _ in shadows:
            self._metrics.shadows.labels(self._model, f"v{shadow}").inc()
        if bare is not None and bare != prediction:
            self._metrics.flips.labels(self._model, name).inc()
        return self._receipts.seal(event)

    def learn(self, items: Sequence[FeedbackItem]) -> list[Outcome | InputError]:
        """Enter late labels and groups; what cannot be used is returned in its place. Raises StoreUnavailable."""
        opened = [self._opened(item) for item in items]
        told = [entry for entry in opened if isinstance(entry, Feedback)]
        shadows = [entry._replace(event=shadow) for entry in told for shadow in entry.event.of_shadows()]
        outcomes = iter(self._ledger.feedback(told + shadows))
        return [next(outcomes) if isinstance(entry, Feedback) else entry for entry in opened]

    def _opened(self, item: FeedbackItem) -> Feedback | InputError:
        try:
            event = self._receipts.open(item.prediction_id, self._model)
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
    return max(range(len(scores)), key=scores.__getitem__)
