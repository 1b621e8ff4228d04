"""Which triggers are in memory, and which of them computes a row.

Everything a batch needs is one immutable Snapshot, read once per batch: a swap replaces the snapshot, so it happens
between two batches and never inside one. Row 0 of the bank is always "no trigger". The versions of the plan and those
that requests in flight hold are never evicted; the others leave in least-recently-used order.
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

from service.batcher import Overloaded
from service.blanks import blank
from service.file_item import File
from service.forward import Forward, Pass, plain_forward
from service.policy import Choice, Policy, decide
from triggers.artifact import TriggerArtifact, check_compatible
from triggers.classifier import FrozenClassifier, Trigger
from triggers.errors import ArtifactCorrupt, InputError, ModelError
from triggers.plan import Plan, as_plan
from triggers.preprocessor import Item

logger = logging.getLogger(__name__)


class Query(NamedTuple):
    """One input, the trigger it asks for, and the key that decides where the rollout decides.

    A file is decoded before it comes to a Predictor (file_batches.py). `twin` runs the input a second time without a
    trigger, `shadows` under other versions.
    """

    item: Item | File
    choice: Choice = "rollout"
    twin: bool = False
    key: int = 0
    shadows: tuple[int, ...] = ()

    @property
    def cost(self) -> int:
        """Rows in the forward pass, at most."""
        return 1 + self.twin + len(self.shadows)


class Answer(NamedTuple):
    """Class scores (labels,), the version that computed them and why it did.

    `bare` holds the twin's scores, `shadows` those of other versions: they are counted and never sent.
    """

    scores: tuple[float, ...]
    version: int | None
    digest: str | None
    revision: int
    bare: tuple[float, ...] | None = None
    policy: Policy = "champion"
    shadows: Mapping[int, tuple[float, ...]] = MappingProxyType({})


Result: TypeAlias = Answer | InputError
"""What comes back for a query whose input may still have been a file."""


@dataclass(frozen=True, eq=False)
class Resident:
    """A checked trigger in memory; `groups_overlap` is what its manifest says of the people it was made on."""

    version: int | None
    digest: str | None
    trigger: Trigger
    groups_overlap: bool = False


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The triggers that the next batch may use, those of the plan among them, and the revision the plan came from."""

    residents: tuple[Resident, ...]
    bank: Pass
    rows: Mapping[int | None, int]
    plan: Plan
    revision: int

    @property
    def champion(self) -> int | None:
        """The version that serves whoever does not choose one."""
        return self.plan.champion

    def digest(self, version: int | None) -> str | None:
        """Of a version in memory."""
        return self.residents[self.rows[version]].digest

    def shadows(self, query: Query, version: int | None) -> list[int]:
        """The shadows of a query that still are in memory; one that answers anyway is not computed twice."""
        return [shadow for shadow in query.shadows if shadow in self.rows and shadow != version]


class Predictor:
    """Computes batches on one classifier; `fetch(version)` brings a checked artifact from the store.

    `forward` says how the device computes; without one the model runs as it is.
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
        self._device = forward or plain_forward(classifier)
        self._fetch, self.max_versions = fetch, max_versions
        self._bare = Resident(None, None, classifier.null_trigger())
        self._loaded: OrderedDict[int, Resident] = OrderedDict()
        self._leases: Counter[int] = Counter()
        self._loading = threading.Lock()  # one version is loaded at a time
        self._building = threading.Lock()  # one snapshot is built at a time
        self._change = threading.Lock()  # guards leases, versions and snapshot; held for moments only, never to build
        self._snapshot = self._build((), Plan(), revision=0)

    @property
    def name(self) -> str:
        """The model's name."""
        return self.classifier.name

    @property
    def lanes(self) -> int:
        """Threads that may compute batches at once."""
        return self._device.lanes

    @property
    def snapshot(self) -> Snapshot:
        """What the next batch will use."""
        return self._snapshot

    @property
    def champion(self) -> Resident:
        """The trigger that serves whoever does not choose one."""
        snapshot = self._snapshot
        return snapshot.residents[snapshot.rows[snapshot.champion]]

    @property
    def groups_overlap(self) -> bool:
        """Whether a trigger in memory was made on groups that overlap: its model's group names are read likewise."""
        return any(resident.groups_overlap for resident in self._snapshot.residents)

    def predict(self, queries: Sequence[Query]) -> list[Answer]:
        """One forward pass over all queries, twins and shadows, each row under its own trigger.

        If that fails it is done again without the shadows, which must not cost anybody an answer.
        """
        try:
            return self._predict(queries)
        except (ModelError, RuntimeError) as error:
            if not any(query.shadows for query in queries):
                raise
            logger.warning("model %s: a batch failed, shadows are left out of it: %s", self.classifier.name, error)
            return self._predict([query._replace(shadows=()) for query in queries])

    def _predict(self, queries: Sequence[Query]) -> list[Answer]:
        snapshot = self._snapshot
        decided = [decide(snapshot.plan, self.classifier.name, query.choice, query.key) for query in queries]
        beside: list[tuple[int, int | None]] = [  # (query, version) of every row after those that answer
            (n, version)
            for n, query in enumerate(queries)
            for version in ([None] if query.twin else []) + snapshot.shadows(query, decided[n][0])
        ]
        items = [query.item for query in queries] + [queries[n].item for n, _ in beside]
        rows = [snapshot.rows[version] for version, _ in [*decided, *((version, None) for _, version in beside)]]
        table = [tuple(row) for row in self._forward(cast(list[Item], items), snapshot.bank, rows)]
        extra: list[dict[int | None, tuple[float, ...]]] = [{} for _ in queries]
        for (n, version), row in zip(beside, table[len(queries) :], strict=True):
            extra[n][version] = row
        return [
            _answer(snapshot, version, policy, row, others)
            for (version, policy), row, others in zip(decided, table, extra, strict=False)
        ]

    def warm(self) -> None:
        """Run every size of batch, and one under the present champion: the first request pays for no start-up."""
        self._device.warm(blank(self.classifier))
        self._forward([blank(self.classifier)], self._snapshot.bank, [self._snapshot.rows[self._snapshot.champion]])

    @contextmanager
    def lease(self, version: int) -> Iterator[Resident]:
        """Hold a version in memory, loading it first if needed. Raises what `fetch` and the checks raise."""
        with self._change:
            self._leases[version] += 1
        try:
            yield self._resident(version)
        finally:
            self.unpin(version)

    def pin(self, version: int) -> bool:
        """Hold a version until `unpin`, if it is in memory; on the event loop too, for it waits for no build."""
        with self._change:
            if version not in self._loaded:
                return False
            self._loaded.move_to_end(version)
            self._leases[version] += 1
            return True

    def unpin(self, version: int) -> None:
        """Let go of what `pin` or `lease` held."""
        with self._change:
            self._leases[version] -= 1
            if not self._leases[version]:
                del self._leases[version]

    def promote(self, decision: Plan | int | None, revision: int) -> None:
        """Let a plan (or a champion alone) decide for every batch that starts from now on, all its versions loaded."""
        plan = as_plan(decision)
        with ExitStack() as held:
            for version in plan.versions:
                held.enter_context(self.lease(version))
            with self._building:
                self._replace(self._kept(), plan, revision)

    def _resident(self, version: int) -> Resident:
        if found := self._touch(version):
            return found
        with self._loading:
            if found := self._touch(version):
                return found
            artifact = self._fetch(version)
            check_compatible(artifact, self.classifier)
            resident = Resident(version, artifact.digest, artifact.trigger, artifact.manifest.groups_overlap)
            self._try_out(resident)
            self._install(resident)
            return resident

    def _touch(self, version: int) -> Resident | None:
        with self._change:
            if version in self._loaded:
                self._loaded.move_to_end(version)
            return self._loaded.get(version)

    def _install(self, resident: Resident) -> None:
        """Add a trigger to those in memory; if one that should leave was taken into use meanwhile, another does."""
        assert resident.version is not None
        with self._building:
            installed = False
            while not installed:
                new = self._kept(room_for=1) | {resident.version: resident}
                installed = self._replace(new, self._snapshot.plan, self._snapshot.revision)

    def _kept(self, room_for: int = 0) -> dict[int, Resident]:
        """The triggers in memory without as many, those used longest ago, as have to leave. Raises Overloaded."""
        with self._change:
            pinned = {*self._snapshot.plan.versions, *self._leases}
            idle = [version for version in self._loaded if version not in pinned]
            surplus = max(0, len(self._loaded) + room_for - self.max_versions)
            if surplus > len(idle):
                message = (
                    f"All {self.max_versions} trigger versions in memory are in use; retry, or raise max_versions."
                )
                raise Overloaded(message, retry_after=1)
            return {version: each for version, each in self._loaded.items() if version not in idle[:surplus]}

    def _replace(self, loaded: Mapping[int, Resident], plan: Plan, revision: int) -> bool:
        """Build a snapshot of these triggers, then install triggers and snapshot together; under `_building`.

        False if one that would leave is in use by now. Then, as after a failed build, nothing is changed.
        """
        snapshot = self._build(tuple(loaded.values()), plan, revision)
        with self._change:
            if any(version in self._leases for version in self._loaded if version not in loaded):
                return False
            by_use = [*(version for version in self._loaded if version in loaded), *loaded]
            self._loaded = OrderedDict((version, loaded[version]) for version in by_use)
            self._snapshot = snapshot
            return True

    def _build(self, loaded: Sequence[Resident], plan: Plan, revision: int) -> Snapshot:
        residents = (self._bare, *loaded)
        bank = self._device.over([resident.trigger for resident in residents])
        rows = {resident.version: row for row, resident in enumerate(residents)}
        return Snapshot(residents, bank, rows, plan, revision)

    def _try_out(self, resident: Resident) -> None:
        """One forward pass under a new trigger before anybody can ask for it: warms it and proves that it runs."""
        try:
            self._forward([blank(self.classifier)], self._device.over([resident.trigger]), [0])
        except (ModelError, RuntimeError) as error:
            raise ArtifactCorrupt(f"v{resident.version} does not run on {self.classifier.name!r}: {error}") from error

    def _forward(self, items: Sequence[Item], bank: Pass, rows: Sequence[int]) -> list[list[float]]:
        """Scores of every item under its bank row. Raises ModelError if the network answers NaN."""
        table = bank(items, rows)
        if not math.isfinite(float(table.sum())):  # of numbers from 0 to 1
            raise ModelError("The network answered NaN; check the model with the trigger switched off.")
        result: list[list[float]] = table.tolist()
        return result


def _answer(
    snapshot: Snapshot,
    version: int | None,
    policy: Policy,
    row: tuple[float, ...],
    extra: Mapping[int | None, tuple[float, ...]],
) -> Answer:
    resident = snapshot.residents[snapshot.rows[version]]
    shadows = {other: found for other, found in extra.items() if other is not None}
    return Answer(row, resident.version, resident.digest, snapshot.revision, extra.get(None), policy, shadows)
