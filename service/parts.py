"""What a served model is put together from, in this process or beside an inference process.

The routes, the decoding and the counting are the same for both. They stand on three things: a description of the model,
the triggers in use, and a queue that computes queries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from service.batcher import Batcher
from service.brevity import brief
from service.description import Description
from service.execution import forward_for
from service.file_batches import batches_of
from service.leaving import Gone
from service.metrics import Metrics
from service.predictor import Predictor, Query, Result
from service.residents import Triggers
from service.rollout import Follower
from service.settings import Settings
from service.tickets import Timing
from triggers.classifier import FrozenClassifier
from triggers.store import Store, open_store


class Processes(Protocol):
    """The processes that compute, one per device; see `links.Links`."""

    @property
    def states(self) -> Sequence[tuple[str, bool]]:
        """The device of each, and whether it is there."""
        ...


class Queue(Protocol):
    """Computes queries in batches; see `batcher.Batcher`, which does it here."""

    @property
    def queued(self) -> int:
        """Rows that wait for a batch."""
        ...

    @property
    def placed(self) -> int:
        """Rows in work: admitted and not yet answered."""
        ...

    @property
    def capacity(self) -> int:
        """Most rows in work."""
        ...

    @property
    def alive(self) -> bool:
        """False if only a restart of this process can help."""
        ...

    @property
    def ready(self) -> bool:
        """Whether queries can be computed now."""
        ...

    def place(self, rows: int) -> AbstractContextManager[None]:
        """Room for `rows` while the block runs. Raises Overloaded."""
        ...

    async def submit(self, items: Sequence[Query], gone: Gone | None = None) -> tuple[list[Result], list[Timing]]:
        """Answers in the order of the queries. Raises Overloaded, BatchFailed or Abandoned."""
        ...

    def start(self) -> None:
        """Begin; inside the event loop."""
        ...

    async def close(self) -> None:
        """Finish what was submitted."""
        ...


@dataclass(frozen=True)
class Parts:
    """One model's parts; `follower` keeps `predictor` at the store's rollout."""

    classifier: Description
    predictor: Triggers
    batcher: Queue
    follower: Follower

    @property
    def name(self) -> str:
        """The model's name."""
        return self.classifier.name

    def start(self) -> None:
        """Begin; inside the event loop."""
        self.batcher.start()

    def warm(self) -> None:
        """Do now what would make the first request slow."""
        self.predictor.warm()


@dataclass(frozen=True)
class LocalParts(Parts):
    """The parts of a model that is computed in this process."""

    predictor: Predictor
    batcher: Batcher[Query, Result]
    inline: bool = True

    def warm(self) -> None:
        """Do now what would make the first request slow, and find out whether the model needs its thread."""
        super().warm()
        if self.inline and brief(self.predictor, self.batcher.max_batch):
            self.batcher.run_at_once()


def open_trigger_store(settings: Settings) -> Store:
    """The store, with the keys that the settings name. Raises ConfigError or StoreUnavailable."""
    signer, trusted = settings.history_signer(), settings.history_trust()
    return open_store(settings.store, trust=settings.trust(), signer=signer, history_trust=trusted)


def local_parts(
    classifier: FrozenClassifier,
    store: Store,
    settings: Settings,
    metrics: Metrics,
    replica: str,
    on_swap: Callable[[str], None] = lambda model: None,
    *,
    near: bool = False,
) -> LocalParts:
    """A model that is computed in this process; `on_swap` hears its name when its rollout was followed or refused.

    A `near` one is computed in every process that speaks HTTP: each has its share of the queue, and the inference
    process counts swaps.
    """
    name = classifier.name
    predictor = Predictor(
        classifier,
        lambda version: store.get(name, version),
        max_versions=settings.max_versions,
        forward=forward_for(classifier, settings),
    )
    batcher: Batcher[Query, Result] = Batcher(
        batches_of(predictor, settings),
        name=name,
        max_batch=settings.max_batch,
        capacity=settings.places_per_process if near else settings.queue_size,
        lanes=predictor.lanes,
        on_batch=lambda timings: metrics.on_batch(name, timings),
        on_dropped=lambda items: metrics.on_dropped(name, items),
    )

    def swapped(result: str) -> None:
        if not near:
            metrics.swaps.labels(name, result).inc()
        on_swap(name)

    follower = Follower(
        store,
        predictor,
        poll_seconds=settings.poll_seconds,
        replica=replica,
        heartbeat_seconds=settings.heartbeat_seconds,
        trust=settings.history_trust(),
        on_swap=swapped,
    )
    return LocalParts(classifier, predictor, batcher, follower, settings.inline)
