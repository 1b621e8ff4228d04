"""Which triggers are in memory, and which of them computes a row.

Everything a batch needs is one immutable Snapshot, read once per batch: a swap replaces the snapshot, so it happens
between two batches and never inside one. Row 0 of the bank is always "no trigger". The champion and the versions that
requests in flight hold are never evicted; the others leave in least-recently-used order.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from service.batcher import Overloaded
from triggers.artifact import TriggerArtifact, check_compatible
from triggers.classifier import Bank, FrozenClassifier, Trigger
from triggers.errors import ArtifactCorrupt, ModelError
from triggers.preprocess import TokenIds
from triggers.preprocessor import Item
from triggers.reprogram import reprogram, scores

Choice = int | None | Literal["champion"]
"""A version, None for no trigger, or whatever is champion when the batch is formed."""


@dataclass(frozen=True)
class Query:
    """One input and the trigger it asks for; `twin` runs it a second time without a trigger."""

    item: Item
    choice: Choice = "champion"
    twin: bool = False

    @property
    def cost(self) -> int:
        """Rows in the forward pass."""
        return 2 if self.twin else 1


@dataclass(frozen=True)
class Answer:
    """Class scores (labels,) and the version that computed them; `bare` holds the twin's scores."""

    scores: tuple[float, ...]
    version: int | None
    digest: str | None
    revision: int
    bare: tuple[float, ...] | None = None


@dataclass(frozen=True, eq=False)
class Resident:
    """A checked trigger in memory; `groups_overlap` is what its manifest says of the people it was made on."""

    version: int | None
    digest: str | None
    trigger: Trigger
    groups_overlap: bool = False


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The triggers that the next batch may use, the champion among them, and the rollout revision it came from."""

    residents: tuple[Resident, ...]
    bank: Bank
    rows: Mapping[int | None, int]
    champion: int | None
    revision: int

    def row(self, choice: Choice) -> int:
        """The bank row of a choice."""
        return self.rows[self.champion if choice == "champion" else choice]


class Predictor:
    """Computes batches on one classifier; `fetch(version)` brings a checked artifact from the store."""

    def __init__(
        self, classifier: FrozenClassifier, fetch: Callable[[int], TriggerArtifact], *, max_versions: int
    ) -> None:
        self.classifier = classifier
        on_cpu = classifier.spec.image and classifier.device.type == "cpu"
        self._running = classifier.accelerated() if on_cpu else classifier  # norms folded, channels last
        self._fetch, self._max_versions = fetch, max_versions
        self._bare = Resident(None, None, classifier.null_trigger())
        self._loaded: OrderedDict[int, Resident] = OrderedDict()
        self._leases: Counter[int] = Counter()
        self._change = threading.Lock()  # guards the three above and the snapshot
        self._loading = threading.Lock()  # one version is loaded at a time
        self._snapshot = self._build(champion=None, revision=0)

    @property
    def name(self) -> str:
        """The model's name."""
        return self.classifier.name

    @property
    def snapshot(self) -> Snapshot:
        """What the next batch will use."""
        return self._snapshot

    @property
    def champion(self) -> Resident:
        """The trigger that serves whoever does not choose one."""
        snapshot = self._snapshot
        return snapshot.residents[snapshot.row("champion")]

    @property
    def groups_overlap(self) -> bool:
        """Whether a trigger in memory was made on groups that overlap: its model's group names are read likewise."""
        return any(resident.groups_overlap for resident in self._snapshot.residents)

    def predict(self, queries: Sequence[Query]) -> list[Answer]:
        """One forward pass over all queries and twins, each row under its own trigger."""
        snapshot = self._snapshot
        rows = [snapshot.row(query.choice) for query in queries]
        twins = [n for n, query in enumerate(queries) if query.twin]
        items = [query.item for query in queries] + [queries[n].item for n in twins]
        table = self._forward(items, snapshot.bank, rows + [0] * len(twins))
        bare = {n: tuple(table[len(queries) + k]) for k, n in enumerate(twins)}
        return [
            Answer(tuple(table[n]), resident.version, resident.digest, snapshot.revision, bare.get(n))
            for n, resident in enumerate(snapshot.residents[row] for row in rows)
        ]

    def warm(self) -> None:
        """Run a small batch under the present champion, so that the first request does not pay for start-up."""
        self._forward([self._blank()], self._snapshot.bank, [self._snapshot.row("champion")])

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
        """Hold a version until `unpin`, if it is in memory; never waits for anything."""
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

    def promote(self, version: int | None, revision: int) -> None:
        """Make a version (None: no trigger) the champion of every batch that starts from now on."""
        if version is None:
            self._swap(None, revision)
            return
        with self.lease(version):
            self._swap(version, revision)

    def _swap(self, champion: int | None, revision: int) -> None:
        with self._change:
            self._snapshot = self._build(champion, revision)

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
            with self._change:
                self._make_room()
                self._loaded[version] = resident
                self._snapshot = self._build(self._snapshot.champion, self._snapshot.revision)
            return resident

    def _touch(self, version: int) -> Resident | None:
        with self._change:
            if version in self._loaded:
                self._loaded.move_to_end(version)
            return self._loaded.get(version)

    def _make_room(self) -> None:
        pinned = {self._snapshot.champion, *self._leases}
        while len(self._loaded) >= self._max_versions:
            victim = next((version for version in self._loaded if version not in pinned), None)
            if victim is None:
                message = (
                    f"All {self._max_versions} trigger versions in memory are in use; retry, or raise max_versions."
                )
                raise Overloaded(message, retry_after=1)
            del self._loaded[victim]

    def _build(self, champion: int | None, revision: int) -> Snapshot:
        residents = (self._bare, *self._loaded.values())
        bank = self.classifier.bank([resident.trigger for resident in residents])
        rows = {resident.version: row for row, resident in enumerate(residents)}
        return Snapshot(residents, bank, rows, champion, revision)

    def _try_out(self, resident: Resident) -> None:
        """One forward pass under a new trigger before anybody can ask for it: warms it and proves that it runs."""
        try:
            self._forward([self._blank()], self.classifier.bank([resident.trigger]), [0])
        except (ModelError, RuntimeError) as error:
            raise ArtifactCorrupt(f"v{resident.version} does not run on {self.classifier.name!r}: {error}") from error

    def _blank(self) -> Item:
        spec = self.classifier.spec
        if spec.image:
            return torch.zeros(spec.image.channels, spec.image.size, spec.image.size, dtype=torch.uint8)
        tokenizer = self.classifier.tokenizer
        return TokenIds((tokenizer.cls_token_id or 0, tokenizer.sep_token_id or 0), truncated=False)

    @torch.inference_mode()
    def _forward(self, items: Sequence[Item], bank: Bank, rows: Sequence[int]) -> list[list[float]]:
        """Scores of every item under its bank row. Raises ModelError if the network answers NaN."""
        index = torch.tensor(rows, device=self.classifier.device)
        table: Tensor = scores(reprogram(self._running, self.classifier.batch(items), bank, index)).cpu()
        if not bool(torch.isfinite(table).all()):
            raise ModelError("The network answered NaN; check the model with the trigger switched off.")
        result: list[list[float]] = table.tolist()
        return result
