"""The observation log of one model: predictions that another system made, each counted once however often it is told.

An observation is known by the hash of its id for OBSERVED_DAYS, together with its prediction id: a nonce of that id is
a keyed hash of all that was counted (`PredictionIdCodec.seal_observed`), so the same id with other content is noticed
though no content is kept. Ids of callers whom the guard trusts are apart, so that nobody else can take them. Their rows
are counted a second time, after the first, under the prediction id that is then known: whatever fails in between, a
retry counts the rest.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, TypeAlias

from service.engine.types import ModelDescription
from service.errors import Overloaded, StatisticsOff
from service.ledger import Ledger, PredictionEvent, PredictionIdCodec
from service.ledger.backend import Observation, StoredObservation
from service.ledger.time_buckets import OBSERVED_DAYS
from service.telemetry import Metrics
from triggers.errors import InputError, NotFound
from triggers.metrics.label_values import label_index
from triggers.rollout.rollout_history import VersionInfo
from triggers.store import Store

LATE_DAYS, EARLY_SECONDS = 7, 300
"""How far in the past and, as clocks differ, in the future the time of an observation may be.

Its id is known for longer than that, so an observation that states its time is never counted twice."""
KEY_BYTES = 16
SCORES_OFF = 0.005
"""How far rounding may move each score."""
LabelValue: TypeAlias = str | int | float | bool


class ObservedPrediction(NamedTuple):
    """What another system tells about one prediction; `version` None is the bare model.

    Exactly one of `prediction` and `scores` is given.
    """

    observation_id: str
    version: int | None
    prediction: LabelValue | None = None
    scores: Mapping[str, float] | None = None
    baseline: LabelValue | None = None
    group: str | None = None
    label: LabelValue | None = None
    digest: str | None = None
    time: datetime | None = None


class CountedObservation(NamedTuple):
    """The prediction id of an observation that is counted; `fresh`: it was not counted before."""

    prediction_id: str
    fresh: bool


ObservationOutcome: TypeAlias = CountedObservation | InputError | Overloaded


class _Prepared(NamedTuple):
    """An observation as it would be counted now, and the bytes that another one under its id would differ in."""

    observation: Observation
    content: bytes


class ObservationLog:
    """Counts the observed predictions of one model, at most `most` in OBSERVED_DAYS; only if `on`.

    `on_versions` is called when a version is met for the first time, as its manifest may declare groups.
    """

    def __init__(
        self,
        classifier: ModelDescription,
        store: Store,
        ledger: Ledger,
        codec: PredictionIdCodec,
        metrics: Metrics,
        *,
        on: bool,
        most: int,
        on_versions: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._classifier, self._model = classifier, classifier.name
        self._label_of_scores = classifier.decision.label_of_scores
        self._store, self._ledger, self._codec, self._metrics = store, ledger, codec, metrics
        self._on, self._most, self._on_versions, self._clock = on, most, on_versions, clock
        self._versions: dict[int, VersionInfo] = {}

    def observe(self, items: Sequence[ObservedPrediction], *, trusted: bool = False) -> list[ObservationOutcome]:
        """Count each that was not counted before: its outcome or error, in order. Waits for store and ledger.

        `trusted` ones count for a guard with `guard_keys`. Raises StatisticsOff or StoreUnavailable; a part may then be
        counted, and telling all again counts the rest.
        """
        if not self._on:
            raise StatisticsOff("This service counts nothing: start it with statistics=on.")
        self._read_versions(item.version for item in items)
        prepared = [self._prepared(item, trusted) for item in items]
        wanted = [each for each in prepared if isinstance(each, _Prepared)]
        told = iter(self._count(wanted))
        outcomes = [next(told) if isinstance(each, _Prepared) else each for each in prepared]
        self._show(prepared, outcomes)
        return outcomes

    def _count(self, wanted: Sequence[_Prepared]) -> list[ObservationOutcome]:
        if not wanted:
            return []
        stored = self._ledger.observe([each.observation for each in wanted], self._most)
        outcomes, guarded = list[ObservationOutcome](), list[Observation]()
        for each, found in zip(wanted, stored, strict=True):
            outcome, event = self._outcome(each, found)
            outcomes.append(outcome)
            if event:
                guarded += [each.observation._replace(receipt="", event=one) for one in event.of_guard()]
        if guarded:
            self._ledger.observe(guarded, self._most)
        return outcomes

    def _outcome(
        self, told: _Prepared, found: StoredObservation | None
    ) -> tuple[ObservationOutcome, PredictionEvent | None]:
        """The outcome, and the event as it is counted, perhaps under an earlier minute and group than now."""
        if found is None:
            message = f"The ids of {self._most} observations are known, all that max_observations lets be; send later."
            return Overloaded(message, 3600), None
        if found.fresh:
            return CountedObservation(found.receipt, True), told.observation.event
        try:
            event = self._codec.open(found.receipt, self._model)
        except InputError:
            message = "An observation of this id was counted under receipt keys that are gone: it cannot be compared."
            return InputError("observation_differs", message), None
        if not self._codec.is_observed(found.receipt, event, told.content):
            message = (
                f"An observation of this id was counted in the last {OBSERVED_DAYS} days with other content: give "
                "every prediction an id of its own; late labels and groups go to /feedback, with the prediction_id."
            )
            return InputError("observation_differs", message), None
        return CountedObservation(found.receipt, False), event

    def _prepared(self, item: ObservedPrediction, trusted: bool) -> _Prepared | InputError:
        try:
            return self._decided(item, trusted)
        except InputError as error:
            return error

    def _decided(self, item: ObservedPrediction, trusted: bool) -> _Prepared:
        self._check_version(item.version, item.digest)
        prediction = self._prediction(item)
        bare = None if item.baseline is None else self._index("baseline_prediction", item.baseline)
        if item.version is None and bare not in (None, prediction):
            message = (
                "version is null, so the prediction is the bare model's own: baseline_prediction must be the same."
            )
            raise InputError("baseline_differs", message)
        label = None if item.label is None else self._index("label", item.label)
        minute = int(self._time(item.time) // 60)
        group = self._ledger.canonical_group(self._model, item.group)
        answered = (item.version, prediction, bare)
        stated = (item.group and item.group.strip(), label, item.time and item.time.timestamp())
        event = PredictionEvent(self._model, minute, item.version, prediction, group, bare, b"", trusted=trusted)
        content = json.dumps((item.observation_id, *answered, *stated)).encode()
        event, receipt = self._codec.seal_observed(event, content)
        return _Prepared(Observation(_key(item.observation_id, trusted), receipt, event, label), content)

    def _prediction(self, item: ObservedPrediction) -> int:
        if item.scores is None:
            assert item.prediction is not None
            return self._index("prediction", item.prediction)
        labels = self._classifier.labels
        if item.scores.keys() != set(labels):
            message = f"scores are for {sorted(item.scores)}; give one for each of {sorted(labels)}."
            raise InputError("bad_scores", message[:500])
        scores = [item.scores[label] for label in labels]
        if not all(0 <= each <= 1 for each in scores) or abs(math.fsum(scores) - 1) > SCORES_OFF * len(labels) + 1e-9:
            message = (
                f"scores must be probabilities that sum to 1, not to {math.fsum(scores):.6g}; else say `prediction`."
            )
            raise InputError("bad_scores", message)
        return self._label_of_scores(scores)

    def _index(self, what: str, value: LabelValue) -> int:
        labels = self._classifier.labels
        if (index := label_index(value, labels)) is None:
            known = ", ".join(f"{index} {name!r}" for index, name in enumerate(labels))
            raise InputError("unknown_label", f"{what} is {str(value)[:100]!r}; this model knows {known}.")
        return index

    def _time(self, stated: datetime | None) -> float:
        now = self._clock()
        if stated is None:
            return now
        seconds = stated.timestamp()
        if not now - LATE_DAYS * 86400 <= seconds <= now + EARLY_SECONDS:
            window = f"at most {LATE_DAYS} days ago and {EARLY_SECONDS // 60} minutes ahead of the service's clock"
            raise InputError("time_out_of_window", f"time is {stated.isoformat()}; it must be {window}.")
        return seconds

    def _read_versions(self, named: Iterable[int | None]) -> None:
        """Read the versions that are not known yet; they never change, and are numbered from 1 without a gap."""
        known = len(self._versions)
        for version in sorted({each for each in named if each is not None} - self._versions.keys()):
            try:
                self._versions[version] = self._store.version(self._model, version)
            except NotFound:
                break
        if len(self._versions) > known:
            self._on_versions()

    def _check_version(self, version: int | None, digest: str | None) -> None:
        """Raise InputError unless it is a version of this model, with this digest if one is told."""
        info = None if version is None else self._versions.get(version)
        if version is None:
            if digest is not None:
                raise InputError("digest_differs", "version is null, and the bare model has no digest: leave it out.")
        elif info is None:
            raise InputError("unknown_version", f"The store has no version v{version} of {self._model!r}.")
        elif digest not in (None, info.digest):
            message = f"digest is {str(digest)[:100]}, but v{version} has {info.digest}: another trigger answered."
            raise InputError("digest_differs", message)
        elif info.manifest.model_fingerprint != self._classifier.fingerprint:
            message = (
                f"v{version} was made for {info.manifest.model_fingerprint}, not for {self._classifier.fingerprint}."
            )
            raise InputError("unfit_version", message)

    def _show(self, prepared: Sequence[_Prepared | InputError], outcomes: Sequence[ObservationOutcome]) -> None:
        """Count what was fresh in the metrics."""
        metrics = self._metrics
        for each, outcome in zip(prepared, outcomes, strict=True):
            if isinstance(each, _Prepared) and isinstance(outcome, CountedObservation) and outcome.fresh:
                event = each.observation.event
                name = "none" if event.version is None else f"v{event.version}"
                metrics.tally.count(metrics.child(metrics.observations, self._model, name))
                if event.bare not in (None, event.prediction):
                    metrics.tally.count(metrics.child(metrics.flips, self._model))


def _key(observation_id: str, trusted: bool) -> bytes:
    """Hash of an id; the ids of trusted callers are apart."""
    return hashlib.blake2b(f"{int(trusted)}\0{observation_id}".encode(), digest_size=KEY_BYTES).digest()
