"""The fairness guard: a thread that tests live fairness and, when a test fires, rolls back or alarms. Off by default.

Every sealed minute is added to the evidence on each hypothesis of the rules (`sequential_tests`). Evidence starts with
the first whole minute of a rollout revision, and anew with every revision (`observations`). Every replica tests the
same counts; a rollback applies only to the tested revision, so that one replica acts and the others get
RevisionConflict. Readers get the evidence of the last check without waiting.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from service.guard.observations import GuardState, ReadCounts, ServingState
from service.guard.sequential_tests import ABOVE_LIMIT, ACCURACY_LOST, WORSE, Evidence, Hypothesis, SequentialTests
from triggers.errors import FairtriggerError, RevisionConflict
from triggers.rollout import GuardRules

LOOK_BACK_MINUTES = 7 * 1440
"""Minutes before its start that a guard reads at most, since minutes are not kept for ever."""
EXACT_FIELDS = ("e_value", "peak", "blocks", "n", "since", "until", "counts")
"""Fields of evidence for readers of exact counts only."""
logger = logging.getLogger(__name__)


class GuardTarget(Protocol):
    """A served model, as a guard uses it."""

    @property
    def pos_label(self) -> int:
        """Index of the label whose rate is the selection rate."""
        ...

    def serving_state(self) -> ServingState:
        """The serving versions, as far as this replica knows."""
        ...

    def withdraw(self, serving: ServingState, evidence: Evidence) -> str:
        """Take the tested version out of service; return a description of the change. Waits for the store.

        Raises RevisionConflict if the revision is another by now, or another FairtriggerError if it cannot be done.
        """
        ...


class Guard:
    """A thread that checks every model every `every_seconds`; minutes are sealed `seal_seconds` after they end.

    With `acts` off it only collects evidence, where another process of the service acts and raises alarms.
    """

    def __init__(
        self,
        models: Mapping[str, GuardTarget],
        read: ReadCounts,
        *,
        seal_seconds: float,
        every_seconds: float,
        clock: Callable[[], float] = time.time,
        on_alarm: Callable[[dict[str, Any]], None] = lambda alarm: None,
        acts: bool = True,
    ) -> None:
        self._models, self._read, self._on_alarm = models, read, on_alarm
        self._seal_seconds, self._every_seconds, self._clock = seal_seconds, every_seconds, clock
        self._acts = acts
        self._oldest = int(clock() // 60) - LOOK_BACK_MINUTES
        self._watches: dict[str, GuardState] = {}
        self._checking, self._stopping = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._keep_checking, name="guard", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def evidence_report(self, model: str, exact: bool = True) -> list[dict[str, Any]]:
        """The evidence on every hypothesis about a model as of the last check, JSON-ready; [] without rules.

        Without `exact` it lacks EXACT_FIELDS, which depend on single predictions; `fired` remains. On any thread.
        """
        state = self._watches.get(model)
        if state is None:
            return []
        found = [each.to_dict() | {"done": state.raised.get(each.hypothesis)} for each in state.evidence]
        return found if exact else [{key: each[key] for key in each if key not in EXACT_FIELDS} for each in found]

    def evidence(self, model: str) -> Sequence[Evidence]:
        """The evidence as objects. On any thread."""
        state = self._watches.get(model)
        return state.evidence if state else ()

    def check(self, model: str) -> list[Evidence]:
        """Test the newly sealed minutes, and act on tests that fire for the first time. Waits for the store."""
        with self._checking:
            state = self._watch(model)
            if state is None:
                return []
            sealed = int((self._clock() - self._seal_seconds) // 60)
            while state.catch_up(model, self._read, sealed):
                if self._stopping.is_set():
                    return state.evidence
            state.evidence = state.tests.evidence()
            fired = [each for each in state.evidence if each.fired and each.hypothesis not in state.raised]
            for each in sorted(fired, key=lambda each: -each.peak) if self._acts else ():
                if (
                    self._models[model].serving_state() == state.serving_state
                ):  # else an action has settled the others too
                    self._raise(model, state, each)
            return state.evidence

    def _watch(self, model: str) -> GuardState | None:
        serving, state = self._models[model].serving_state(), self._watches.get(model)
        if serving.rules is None:
            self._watches.pop(model, None)
            return None
        if state is None or state.serving_state != serving:
            start = max(int(serving.since // 60) + 1, self._oldest)
            rules, pos_label = serving.rules, self._models[model].pos_label
            tests = SequentialTests(
                hypotheses_of(serving, rules), alpha=rules.alpha, pos_label=pos_label, attributes=rules.attributes
            )
            state = self._watches[model] = GuardState(serving, start, start, tests)
        return state

    def _raise(self, model: str, state: GuardState, evidence: Evidence) -> None:
        """Apply the rules' action and raise the alarm; an action that fails is tried again at the next check."""
        rules, hypothesis = state.serving_state.rules, evidence.hypothesis
        try:
            done = "alarm"
            if rules is not None and rules.action == "rollback":
                done = self._models[model].withdraw(state.serving_state, evidence)
        except RevisionConflict:
            done = "superseded: the rollout had changed"
        except FairtriggerError as error:
            logger.error("model %s: the guard could not act on %s: %s", model, hypothesis.test, error)
            return
        state.raised[hypothesis] = done
        logger.warning(
            "model %s: %s fired for version %s, e-value %.3g of %.3g: %s",
            model, hypothesis.test, hypothesis.version, evidence.peak, evidence.threshold, done,
        )  # fmt: skip
        self._on_alarm(
            {"model": model, "revision": state.serving_state.revision} | public_evidence(evidence) | {"done": done}
        )

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


def hypotheses_of(serving: ServingState, rules: GuardRules) -> list[Hypothesis]:
    """Hypotheses about the serving versions: challenger against champion, champion against its bare twins."""
    compared = [(WORSE, rules.metric, rules.worse_by), (ACCURACY_LOST, "accuracy", rules.accuracy_loss)]
    asked = []
    if rules.max_disparity is not None:
        versions = [serving.champion, serving.challenger][: 1 + serving.challenged]
        asked += [Hypothesis(ABOVE_LIMIT, rules.metric, version, rules.max_disparity) for version in versions]
    for test, metric, limit in compared:
        if limit is not None and serving.twins and serving.champion is not None:
            asked.append(Hypothesis(test, metric, serving.champion, limit, twins=True))
        if limit is not None and serving.challenged:
            asked.append(Hypothesis(test, metric, serving.challenger, limit, serving.champion))
    return asked


def public_evidence(evidence: Evidence) -> dict[str, Any]:
    """Evidence for alarms: without counts, which name groups."""
    return {name: value for name, value in evidence.to_dict().items() if name != "counts"}


def parse_timestamp(timestamp: str | None) -> float:
    """Seconds since 1970 of a time in UTC as the store writes it; 0 for None."""
    return datetime.fromisoformat(timestamp.replace("Z", "+00:00")).timestamp() if timestamp else 0.0
