"""Watches live fairness and, when a test fires, takes the version out of service: off unless rules are given.

Once a minute is sealed it is added to the evidence on every question that the rules ask; see `evidence`. Evidence
starts with the first whole minute of a rollout revision, and afresh with every revision; `watch` says what counts.
Every replica weighs the same counts; the rollout is changed only at the revision that was judged, so that one of them
acts and the others see it done. Whoever asks gets the evidence as of the last check and waits for nothing.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from service.evidence import ABOVE_LIMIT, ACCURACY_LOST, WORSE, Evidence, Question, SequentialTests
from service.watch import Read, Stand, Watch
from triggers.errors import FairtriggerError, RevisionConflict
from triggers.rules import Rules

LOOK_BACK_MINUTES = 7 * 1440
"""A guard that starts looks no further back, since minutes are not kept for ever."""
EXACT = ("e_value", "peak", "blocks", "n", "since", "until", "counts")
"""What only those may see who may see exact counts."""
logger = logging.getLogger(__name__)


class Watched(Protocol):
    """A served model to a guard."""

    @property
    def pos_label(self) -> int:
        """Index of the label whose rate is the selection rate."""
        ...

    def stand(self) -> Stand:
        """What serves it now, as far as this replica knows."""
        ...

    def withdraw(self, stand: Stand, evidence: Evidence) -> str:
        """Take the version out of service, unless the revision is another by now; say what was done.

        Raises RevisionConflict, or another FairtriggerError if it cannot be done.
        """
        ...


class Guard:
    """A thread that checks every model every `every_seconds`; minutes are sealed `seal_seconds` after they end.

    One that does not act, beside one that does, weighs the same minutes and leaves acting and telling to it.
    """

    def __init__(
        self,
        models: Mapping[str, Watched],
        read: Read,
        *,
        seal_seconds: float = 15.0,
        every_seconds: float = 5.0,
        clock: Callable[[], float] = time.time,
        on_alarm: Callable[[dict[str, Any]], None] = lambda alarm: None,
        acts: bool = True,
    ) -> None:
        self._models, self._read, self._on_alarm = models, read, on_alarm
        self._seal_seconds, self._every_seconds, self._clock = seal_seconds, every_seconds, clock
        self._acts = acts
        self._oldest = int(clock() // 60) - LOOK_BACK_MINUTES
        self._watches: dict[str, Watch] = {}
        self._checking, self._stopping = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._keep_checking, name="guard", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def report(self, model: str, exact: bool = True) -> list[dict[str, Any]]:
        """The evidence on every question about a model, as of the last check; [] where nothing is watched.

        Not `exact` leaves out all that depends on single predictions: whether it fired remains. From any thread.
        """
        watch = self._watches.get(model)
        if watch is None:
            return []
        found = [each.to_dict() | {"done": watch.raised.get(each.question)} for each in watch.evidence]
        return found if exact else [{key: each[key] for key in each if key not in EXACT} for each in found]

    def evidence(self, model: str) -> Sequence[Evidence]:
        """The same, not for people. From any thread."""
        watch = self._watches.get(model)
        return watch.evidence if watch else ()

    def check(self, model: str) -> list[Evidence]:
        """Read what was sealed since, weigh it, and act on what fires for the first time."""
        with self._checking:
            watch = self._watch(model)
            if watch is None:
                return []
            sealed = int((self._clock() - self._seal_seconds) // 60)
            while watch.catch_up(model, self._read, sealed):
                if self._stopping.is_set():
                    return watch.evidence
            watch.evidence = watch.tests.evidence()
            fired = [each for each in watch.evidence if each.fired and each.question not in watch.raised]
            for each in sorted(fired, key=lambda each: -each.peak) if self._acts else ():
                if self._models[model].stand() == watch.stand:  # else an action has settled the others too
                    self._raise(model, watch, each)
            return watch.evidence

    def _watch(self, model: str) -> Watch | None:
        stand, watch = self._models[model].stand(), self._watches.get(model)
        if stand.rules is None:
            self._watches.pop(model, None)
            return None
        if watch is None or watch.stand != stand:
            start = max(int(stand.since // 60) + 1, self._oldest)
            rules, pos_label = stand.rules, self._models[model].pos_label
            tests = SequentialTests(
                questions(stand, rules), alpha=rules.alpha, pos_label=pos_label, attributes=rules.attributes
            )
            watch = self._watches[model] = Watch(stand, start, start, tests)
        return watch

    def _raise(self, model: str, watch: Watch, evidence: Evidence) -> None:
        """Act and tell; an action that fails is tried again at the next check."""
        rules, question = watch.stand.rules, evidence.question
        try:
            done = "alarm"
            if rules is not None and rules.action == "rollback":
                done = self._models[model].withdraw(watch.stand, evidence)
        except RevisionConflict:
            done = "superseded: the rollout had changed"
        except FairtriggerError as error:
            logger.error("model %s: the guard could not act on %s: %s", model, question.test, error)
            return
        watch.raised[question] = done
        logger.warning(
            "model %s: %s fired for version %s, e-value %.3g of %.3g: %s",
            model, question.test, question.version, evidence.peak, evidence.threshold, done,
        )  # fmt: skip
        self._on_alarm({"model": model, "revision": watch.stand.revision} | told(evidence) | {"done": done})

    def _keep_checking(self) -> None:
        failing: set[str] = set()
        while not self._stopping.wait(self._every_seconds):
            for model in self._models:
                try:
                    self.check(model)
                    failing.discard(model)
                except Exception as error:  # the thread boundary: the next round tries again
                    if model not in failing:
                        logger.error("model %s: the guard cannot check it: %s", model, error)
                    failing.add(model)


def questions(stand: Stand, rules: Rules) -> list[Question]:
    """What the rules ask of the versions that serve: the challenger against the champion, that against bare twins."""
    compared = [(WORSE, rules.metric, rules.worse_by), (ACCURACY_LOST, "accuracy", rules.accuracy_loss)]
    asked = []
    if rules.max_disparity is not None:
        versions = [stand.champion, stand.challenger][: 1 + stand.challenged]
        asked += [Question(ABOVE_LIMIT, rules.metric, version, rules.max_disparity) for version in versions]
    for test, metric, limit in compared:
        if limit is not None and stand.twins and stand.champion is not None:
            asked.append(Question(test, metric, stand.champion, limit, twins=True))
        if limit is not None and stand.challenged:
            asked.append(Question(test, metric, stand.challenger, limit, stand.champion))
    return asked


def told(evidence: Evidence) -> dict[str, Any]:
    """Evidence for people outside: without counts, which name groups."""
    return {name: value for name, value in evidence.to_dict().items() if name != "counts"}


def moment(timestamp: str | None) -> float:
    """Seconds since 1970 of a time in UTC as the store writes it; 0 for None."""
    return datetime.fromisoformat(timestamp.replace("Z", "+00:00")).timestamp() if timestamp else 0.0
