"""The backend of a model that is computed in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import AbstractContextManager
from typing import Any

from service.config import Settings
from service.engine.batching import Batcher, BatchTiming, InlineBatcher, runs_inline
from service.engine.client_disconnect import WaitForDisconnect
from service.engine.decoding.gpu import build_batch_function
from service.engine.endpoint_health import EndpointHealth, EndpointState
from service.engine.endpoint_watch import EndpointWatch
from service.engine.execution.eager_forward import Forward
from service.engine.execution.endpoint_forward import EndpointForward
from service.engine.execution.execution_backend import build_forward
from service.engine.predictor import BatchItem, BatchResult, Predictor
from service.process_lifecycle import run_bounded
from service.rollout import TriggerState
from service.telemetry import Metrics
from triggers.model import FrozenClassifier
from triggers.model.endpoint import EndpointLoader
from triggers.model.endpoint_classifier import EndpointClassifier
from triggers.rollout import RolloutPlan
from triggers.store import Store

FIRST_CHECK_SECONDS = 3.0
"""Seconds that a start waits for an endpoint's canary."""


class LocalBackend:
    """A classifier with its Predictor and its Batcher; see `ModelBackend`."""

    def __init__(self, classifier: FrozenClassifier, store: Store, settings: Settings, metrics: Metrics) -> None:
        self.classifier, self.name = classifier, classifier.name
        self.watch = _endpoint_watch(classifier, settings)
        self.predictor = Predictor(
            classifier,
            lambda version: store.get(self.name, version),
            max_versions=settings.max_versions,
            forward=_forward(classifier, settings, self.watch),
        )
        inline = settings.inline and classifier.device.type == "cpu" and self.watch is None
        remote = classifier.spec.loader if isinstance(classifier.spec.loader, EndpointLoader) else None
        kind: type[Batcher[BatchItem, BatchResult]] = InlineBatcher if inline else Batcher
        self.batcher = kind(
            build_batch_function(self.predictor, settings),
            name=self.name,
            max_batch=min(settings.max_batch, remote.max_batch) if remote else settings.max_batch,
            capacity=settings.queue_size if settings.engine_devices else settings.rows_per_process,
            lanes=self.predictor.max_concurrency,
            on_batch=lambda timings: metrics.on_batch(
                self.name, [each.queue for each in timings], timings[0].infer, timings[0].batch_size
            ),
            on_dropped=lambda items: metrics.on_dropped(self.name, items),
        )

    @property
    def state(self) -> TriggerState:
        """The triggers that the next batch will use."""
        return self.predictor.state

    @property
    def queued(self) -> int:
        """Rows that wait for a batch."""
        return self.batcher.queued

    @property
    def in_flight(self) -> int:
        """Rows in work."""
        return self.batcher.in_flight

    @property
    def capacity(self) -> int:
        """Most rows in work."""
        return self.batcher.capacity

    @property
    def alive(self) -> bool:
        """Whether batches are computed."""
        return self.batcher.alive

    @property
    def endpoint(self) -> EndpointState | None:
        """The state of the model's endpoint, if it has one."""
        return self.watch.health.state if self.watch else None

    @property
    def ready(self) -> bool:
        """Whether requests can be computed now."""
        endpoint = self.endpoint
        return self.batcher.alive and (endpoint is None or endpoint.serves(triggers=bool(self.state.plan.versions)))

    def admit(self, rows: int) -> LocalLease:
        """A lease for a request of so many rows. Raises Overloaded or EndpointUnavailable."""
        if self.watch:
            self.watch.health.check(triggers=bool(self.state.plan.versions))
        return LocalLease(self, rows)

    def hold(self, version: int) -> AbstractContextManager[None]:
        """Hold a version in memory, loading it first if needed. Not on the event loop."""
        return self.predictor.hold(version)

    async def load(self, version: int) -> None:
        """Load a version on a thread, and hold it until `predictor.release`."""
        loading = asyncio.ensure_future(asyncio.to_thread(self.predictor.load, version))
        try:
            await asyncio.shield(loading)
        except asyncio.CancelledError:  # a thread cannot be cancelled: release the version when loaded
            loading.add_done_callback(lambda done: None if done.exception() else self.predictor.release(version))
            raise

    def activate_plan(self, plan: RolloutPlan, revision: int) -> None:
        """Apply a plan to every batch that starts from now on. Not on the event loop."""
        self.predictor.activate_plan(plan, revision)

    def start(self) -> None:
        """Start the batcher, and the watch of an endpoint. On the event loop."""
        self.batcher.start()
        if self.watch:
            self.watch.start()

    def warm(self) -> None:
        """Run every batch size, and find out whether the model needs a thread. Not on the event loop.

        An endpoint is given a moment to show which model it is; the service starts without it all the same.
        """
        if self.watch:
            self.watch.first_check.wait(FIRST_CHECK_SECONDS)
            return
        self.predictor.warm()
        if isinstance(self.batcher, InlineBatcher) and not runs_inline(self.predictor, self.batcher.max_batch):
            self.batcher.use_threads()

    async def close(self) -> None:
        """Finish what is queued and end the threads."""
        await self.batcher.close()
        if self.watch:
            await run_bounded(f"the endpoint of {self.name}", self.watch.stop)


class LocalLease:
    """The permit and the held versions of one request; see `RequestLease`."""

    __slots__ = ("_backend", "_held", "_permit")

    def __init__(self, backend: LocalBackend, rows: int) -> None:
        self._backend, self._permit = backend, backend.batcher.reserve(rows)
        self._held: list[int] = []

    def __enter__(self) -> LocalLease:
        return self

    def __exit__(self, *_: object) -> None:
        for version in self._held:
            self._backend.predictor.release(version)
        self._permit.release()

    def hold(self, version: int) -> bool:
        """Hold a version, if it is in memory. Raises EndpointUnavailable."""
        if watch := self._backend.watch:
            watch.health.check(triggers=True)
        held = self._backend.predictor.try_hold(version)
        if held:
            self._held.append(version)
        return held

    async def load(self, version: int) -> None:
        """Hold a version, loading it first if needed. Raises what `Predictor.load` raises."""
        await self._backend.load(version)
        self._held.append(version)

    def submit(
        self, items: Sequence[BatchItem], disconnect: WaitForDisconnect | None = None
    ) -> Coroutine[Any, Any, tuple[list[BatchResult], list[BatchTiming]]]:
        """Answers in the order of the items. Raises Overloaded, BatchFailed or ClientDisconnected."""
        return self._backend.batcher.submit(items, disconnect)


def _endpoint_watch(classifier: FrozenClassifier, settings: Settings) -> EndpointWatch | None:
    """The watch of a model's endpoint, if it has one."""
    if not isinstance(classifier, EndpointClassifier):
        return None
    health = EndpointHealth(classifier.name, settings.endpoint_changed, settings.endpoint_check_seconds)
    classifier.endpoint.connection.on_cut = health.suspect
    return EndpointWatch(classifier, health)


def _forward(classifier: FrozenClassifier, settings: Settings, watch: EndpointWatch | None) -> Forward:
    if watch and isinstance(classifier, EndpointClassifier):
        return EndpointForward(classifier, watch.health)
    return build_forward(classifier, settings)
