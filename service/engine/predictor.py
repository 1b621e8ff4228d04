"""The predictor of one model: its triggers in memory, and the forward pass of a batch under them.

Everything a batch needs is one immutable TriggerSnapshot, read once per batch: a swap replaces the snapshot, so it
happens between two batches and never inside one. Row 0 of the bank is always "no trigger". The versions of the plan and
those that requests in flight hold are never evicted; the others leave in least-recently-used order.
"""

from __future__ import annotations

import logging
import math
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple, TypeAlias, cast

from service.engine.execution.dummy_inputs import blank_input
from service.engine.execution.eager_forward import BoundForward, Forward, build_eager_forward
from service.engine.types import EncodedFile
from service.engine.version_routing import ServingPolicy, TriggerSelector, route_version
from service.errors import Overloaded
from service.rollout import TriggerState
from triggers.artifact.artifact import TriggerArtifact, check_compatible
from triggers.errors import ArtifactCorrupt, EndpointFailed, EndpointUnavailable, InputError, ModelError
from triggers.model import FrozenClassifier, Item, Trigger
from triggers.rollout import RolloutPlan
from triggers.rollout.rollout_plan import as_plan

logger = logging.getLogger(__name__)


class BatchItem(NamedTuple):
    """One input, the trigger it asks for, and the routing key between champion and challenger.

    A file is decoded before it reaches a Predictor (decoding/gpu.py). `twin` also runs the input without a trigger,
    `shadows` under other versions.
    """

    item: Item | EncodedFile
    choice: TriggerSelector = "rollout"
    twin: bool = False
    key: int = 0
    shadows: tuple[int, ...] = ()

    @property
    def cost(self) -> int:
        """Rows in the forward pass, at most."""
        return 1 + self.twin + len(self.shadows)


class Scored(NamedTuple):
    """Class scores (labels,), the version that computed them and why it did.

    `baseline_scores` are those without a trigger (the twin), `shadows` those of other versions, counted but never sent.
    """

    scores: tuple[float, ...]
    version: int | None
    digest: str | None
    revision: int
    baseline_scores: tuple[float, ...] | None = None
    policy: ServingPolicy = "champion"
    shadows: Mapping[int, tuple[float, ...]] = MappingProxyType({})


BatchResult: TypeAlias = Scored | InputError
"""The result of a BatchItem; InputError if its file could not be decoded."""


@dataclass(frozen=True, eq=False)
class LoadedTrigger:
    """A checked trigger in memory; `groups_overlap`, from its manifest: it was trained on overlapping groups."""

    version: int | None
    digest: str | None
    trigger: Trigger
    groups_overlap: bool = False


@dataclass(frozen=True, eq=False)
class TriggerSnapshot:
    """The triggers that the next batch may use, those of the plan among them."""

    bank: BoundForward
    rows: Mapping[int | None, int]
    state: TriggerState

    def shadows(self, batch_item: BatchItem, version: int | None) -> list[int]:
        """The item's shadows that are still in memory, without the version that answers."""
        return [shadow for shadow in batch_item.shadows if shadow in self.rows and shadow != version]


class Predictor:
    """Computes batches on one classifier; `fetch(version)` reads a checked artifact from the store.

    `forward` is the forward pass on the device, by default the eager one.
    """

    def __init__(
        self,
        classifier: FrozenClassifier,
        fetch: Callable[[int], TriggerArtifact],
        *,
        max_versions: int,
        forward: Forward | None = None,
    ) -> None:
        self.classifier = classifier
        self._device = forward or build_eager_forward(classifier)
        self._fetch, self.max_versions = fetch, max_versions
        self._null_trigger = LoadedTrigger(None, None, classifier.null_trigger())
        self._loaded: OrderedDict[int, LoadedTrigger] = OrderedDict()
        self._leases: Counter[int] = Counter()
        self._loading = threading.Lock()  # one version is loaded at a time
        self._building = threading.Lock()  # one snapshot is built at a time
        self._change = threading.Lock()  # guards leases, versions and snapshot; held for moments only, never to build
        self._snapshot = self._build((), RolloutPlan(), revision=0)

    @property
    def name(self) -> str:
        """The model's name."""
        return self.classifier.name

    @property
    def max_concurrency(self) -> int:
        """Threads that may compute batches at once."""
        return self._device.max_concurrency

    @property
    def snapshot(self) -> TriggerSnapshot:
        """The snapshot that the next batch will use."""
        return self._snapshot

    @property
    def state(self) -> TriggerState:
        """Plan, revision and digests of the snapshot."""
        return self._snapshot.state

    def predict(self, batch_items: Sequence[BatchItem]) -> list[Scored]:
        """One forward pass over all items, twins and shadows, each row under its own trigger.

        If that fails it runs again without the shadows, which must not cost a request its answer.
        """
        try:
            return self._predict(batch_items)
        except (ModelError, RuntimeError) as error:
            endpoint_at_fault = isinstance(error, EndpointFailed) and not error.of_rows
            if endpoint_at_fault or not any(batch_item.shadows for batch_item in batch_items):
                raise
            logger.warning("model %s: a batch failed, shadows are left out of it: %s", self.classifier.name, error)
            return self._predict([batch_item._replace(shadows=()) for batch_item in batch_items])

    def _predict(self, batch_items: Sequence[BatchItem]) -> list[Scored]:
        snapshot = self._snapshot
        decided = [
            route_version(snapshot.state.plan, self.classifier.name, batch_item.choice, batch_item.key)
            for batch_item in batch_items
        ]
        extra_rows: list[tuple[int, int | None]] = [  # (item's index, version) of every extra row
            (n, version)
            for n, batch_item in enumerate(batch_items)
            for version in ([None] if batch_item.twin else []) + snapshot.shadows(batch_item, decided[n][0])
        ]
        items = [batch_item.item for batch_item in batch_items] + [batch_items[n].item for n, _ in extra_rows]
        rows = [snapshot.rows[version] for version, _ in [*decided, *((version, None) for _, version in extra_rows)]]
        table = [tuple(row) for row in self._forward(cast(list[Item], items), snapshot.bank, rows)]
        extra: list[dict[int | None, tuple[float, ...]]] = [{} for _ in batch_items]
        for (n, version), row in zip(extra_rows, table[len(batch_items) :], strict=True):
            extra[n][version] = row
        return [
            _answer(snapshot, version, policy, row, others)
            for (version, policy), row, others in zip(decided, table, extra, strict=False)
        ]

    def warm(self) -> None:
        """Run every batch size, and one batch under the present champion, so that the first request is not slow."""
        self._device.warm(blank_input(self.classifier))
        self._forward([blank_input(self.classifier)], self._snapshot.bank, [self._snapshot.rows[self.state.champion]])

    @contextmanager
    def hold(self, version: int) -> Iterator[None]:
        """Hold a version in memory, loading it first if needed. Raises what `load` raises. Not on the event loop."""
        self.load(version)
        try:
            yield
        finally:
            self.release(version)

    def load(self, version: int) -> None:
        """Hold a version until `release`, loading it first if needed. Waits for the store: not on the event loop.

        Raises what `fetch` and the checks raise.
        """
        with self._change:
            self._leases[version] += 1
        try:
            self._bring(version)
        except BaseException:
            self.release(version)
            raise

    def try_hold(self, version: int) -> bool:
        """Hold a version until `release`, if it is in memory. Waits for no build: on any thread."""
        with self._change:
            if version not in self._loaded:
                return False
            self._loaded.move_to_end(version)
            self._leases[version] += 1
            return True

    def release(self, version: int) -> None:
        """End a hold of `try_hold` or `load`."""
        with self._change:
            self._leases[version] -= 1
            if not self._leases[version]:
                del self._leases[version]

    def activate_plan(self, decision: RolloutPlan | int | None, revision: int) -> None:
        """Apply a plan (or a champion alone) to batches that start from now on, loading its versions first."""
        plan = as_plan(decision)
        with ExitStack() as held:
            for version in plan.versions:
                held.enter_context(self.hold(version))
            with self._building:
                self._replace(self._kept(), plan, revision)

    def _bring(self, version: int) -> None:
        """Load a version into memory, unless it is there."""
        if self._touch(version):
            return
        with self._loading:
            if self._touch(version):
                return
            artifact = self._fetch(version)
            check_compatible(artifact, self.classifier)
            loaded_trigger = LoadedTrigger(version, artifact.digest, artifact.trigger, artifact.manifest.groups_overlap)
            self._smoke_test(loaded_trigger)
            self._install(loaded_trigger)

    def _touch(self, version: int) -> bool:
        """Whether a version is in memory; marks it as used last."""
        with self._change:
            found = version in self._loaded
            if found:
                self._loaded.move_to_end(version)
            return found

    def _install(self, loaded_trigger: LoadedTrigger) -> None:
        """Add a trigger to those in memory; if the version to evict was held meanwhile, another is evicted."""
        assert loaded_trigger.version is not None
        with self._building:
            installed = False
            while not installed:
                new = self._kept(room_for=1) | {loaded_trigger.version: loaded_trigger}
                installed = self._replace(new, self.state.plan, self.state.revision)

    def _kept(self, room_for: int = 0) -> dict[int, LoadedTrigger]:
        """The triggers in memory after eviction of the least recently used to make room. Raises Overloaded."""
        with self._change:
            pinned = {*self.state.plan.versions, *self._leases}
            idle = [version for version in self._loaded if version not in pinned]
            surplus = max(0, len(self._loaded) + room_for - self.max_versions)
            if surplus > len(idle):
                message = (
                    f"All {self.max_versions} trigger versions in memory are in use; retry, or raise max_versions."
                )
                raise Overloaded(message, retry_after=1)
            return {version: each for version, each in self._loaded.items() if version not in idle[:surplus]}

    def _replace(self, loaded: Mapping[int, LoadedTrigger], plan: RolloutPlan, revision: int) -> bool:
        """Build a snapshot of these triggers, then install triggers and snapshot together; under `_building`.

        False if a version to evict is held by now. Then, as after a failed build, nothing is changed.
        """
        snapshot = self._build(tuple(loaded.values()), plan, revision)
        with self._change:
            if any(version in self._leases for version in self._loaded if version not in loaded):
                return False
            by_use = [*(version for version in self._loaded if version in loaded), *loaded]
            self._loaded = OrderedDict((version, loaded[version]) for version in by_use)
            self._snapshot = snapshot
            return True

    def _build(self, loaded: Sequence[LoadedTrigger], plan: RolloutPlan, revision: int) -> TriggerSnapshot:
        triggers = (self._null_trigger, *loaded)
        bank = self._device.bind([loaded_trigger.trigger for loaded_trigger in triggers])
        rows = {loaded_trigger.version: row for row, loaded_trigger in enumerate(triggers)}
        digests = {loaded_trigger.version: loaded_trigger.digest for loaded_trigger in triggers}
        overlap = any(loaded_trigger.groups_overlap for loaded_trigger in triggers)
        return TriggerSnapshot(bank, rows, TriggerState(plan, revision, digests, self.max_versions, overlap))

    def _smoke_test(self, loaded_trigger: LoadedTrigger) -> None:
        """One forward pass under a new trigger before it is installed. Raises ArtifactCorrupt if it does not run."""
        try:
            self._forward([blank_input(self.classifier)], self._device.bind([loaded_trigger.trigger]), [0])
        except (EndpointUnavailable, EndpointFailed) as error:  # no fault of the trigger
            logger.info("model %s: v%s was not tried: %s", self.name, loaded_trigger.version, error)
        except (ModelError, RuntimeError) as error:
            raise ArtifactCorrupt(
                f"v{loaded_trigger.version} does not run on {self.classifier.name!r}: {error}"
            ) from error

    def _forward(self, items: Sequence[Item], bank: BoundForward, rows: Sequence[int]) -> list[list[float]]:
        """Scores of every item under its bank row. Raises ModelError if the network answers NaN."""
        table = bank(items, rows)
        if not math.isfinite(float(table.sum())):  # scores are in [0, 1]
            raise ModelError("The network answered NaN; check the model with the trigger switched off.")
        result: list[list[float]] = table.tolist()
        return result


def _answer(
    snapshot: TriggerSnapshot,
    version: int | None,
    policy: ServingPolicy,
    row: tuple[float, ...],
    extra: Mapping[int | None, tuple[float, ...]],
) -> Scored:
    state = snapshot.state
    shadows = {other: found for other, found in extra.items() if other is not None}
    return Scored(row, version, state.digest(version), state.revision, extra.get(None), policy, shadows)
