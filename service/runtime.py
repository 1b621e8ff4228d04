"""The running service of one process: models, store, ledger and guard, and the order in which they start and stop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, NamedTuple

from service.config import Settings
from service.engine import FailedModel, ModelBackend, ServedModel
from service.engine.observation_log import ObservationLog
from service.engine.prediction_log import PredictionLog
from service.fairness import Disclosure, DisclosureRule, FairnessMonitor, TimeWindows
from service.guard import ChangedEndpoints, Guard, GuardedModel, Webhook
from service.ledger import Cell, Ledger, Level, PredictionIdCodec
from service.ledger.declared_groups import Declarations
from service.ledger.events import series_name
from service.process_lifecycle import COUNTS_SECONDS, Shutdown
from service.rollout import follower_of, replica_name
from service.runtime_collectors import (
    EndpointCollector,
    FairnessCollector,
    GuardCollector,
    LoadingCollector,
    ProcessCollector,
    ServingCollector,
)
from service.security import Keyring
from service.telemetry import Metrics
from triggers.errors import ConfigError
from triggers.rollout import GuardRules
from triggers.store import Store

logger = logging.getLogger(__name__)

LEDGER_FILE = "ledger.sqlite"
UNDECLARED_MODEL = (
    "model %s: nobody has declared its groups, so what requests name may not be counted: publish a trigger for it, set "
    "`groups` in its model.json or declared_groups, or say groups=open"
)


class ModelBackends(NamedTuple):
    """The backends of the models that are served, and the models that failed their self-check."""

    served: Sequence[ModelBackend]
    failed: Sequence[FailedModel] = ()


class ServiceRuntime:
    """Models, store, ledger, guard and metrics of one process. `draining`: a stop began; not ready, still answering.

    `open` calls `store()`, then `backends(store)`. Of several processes over one store exactly one `guards`: it acts on
    alarms, reports them, and counts swaps. `devices()` lists each device and whether its engine process is connected.
    """

    def __init__(
        self,
        settings: Settings,
        store: Callable[[], Store],
        metrics: Metrics,
        backends: Callable[[Store], ModelBackends],
        *,
        owns_store: bool,
        guards: bool = True,
        devices: Callable[[], Sequence[tuple[str, bool]]] | None = None,
    ) -> None:
        self.settings, self.metrics, self.devices = settings, metrics, devices
        self.draining = False
        self.keyring = Keyring(settings)
        self.admin_port = settings.admin_port
        self.models: Mapping[str, ServedModel] = {}
        self.failed: Mapping[str, FailedModel] = {}
        self.shutdown = Shutdown()
        self._open_store, self._build_backends = store, backends
        self._owns_store, self._guards = owns_store, guards
        self._opened = self._started = False

    def open(self) -> None:
        """Open store and ledger and build the models; idempotent. Waits for the store: not on the event loop.

        Before it there is no file, connection or thread. Raises ConfigError, ModelError or StoreUnavailable, and then
        leaves nothing open.
        """
        if self._opened:
            return
        with ExitStack() as undo:
            settings = self.settings
            _make_folder(settings.data_dir)
            keys = [key.get_secret_value() for key in settings.receipt_keys]
            codec = PredictionIdCodec.from_folder(settings.data_dir, keys)
            self.store = self._open_store()
            if self._owns_store:
                undo.callback(self.store.close)
            backends, failed = self._build_backends(self.store)
            self.failed = {each.name: each for each in failed}
            self.ledger = _open_ledger(settings)
            undo.callback(self.ledger.close)
            self._assemble(backends, codec)
            undo.pop_all()
        self._opened = True

    def _assemble(self, backends: Sequence[ModelBackend], codec: PredictionIdCodec) -> None:
        settings, metrics = self.settings, self.metrics
        self._decoders = ThreadPoolExecutor(settings.decode_threads, thread_name_prefix="decode")
        replica = replica_name()
        self.models = {each.name: self._served(each, codec, replica) for each in backends}
        self.guard = self._guard(settings, self.store, acts=self._guards)
        self._changed_endpoints = ChangedEndpoints(self.models, acts=self._guards)
        self.monitor = FairnessMonitor(
            self.ledger,
            {each.name: each.classifier for each in backends},
            overlapping=lambda name: self.models[name].state.groups_overlap,
            alarms=self.guard.evidence_report,
            windows=TimeWindows(self.ledger, self._disclosure(codec.noise_key)),
        )
        serving, fairness = ServingCollector(self.models), FairnessCollector(self.monitor, self.models)
        self._readings = (serving.reading, fairness.reading)
        guarding, loading = GuardCollector(self.guard, self.models), LoadingCollector(self.models, self.failed)
        for collector in (serving, fairness, guarding, loading, EndpointCollector(self.models)):
            metrics.add(collector)
        if self.devices:
            metrics.add(ProcessCollector(self.devices))

    def _served(self, backend: ModelBackend, codec: PredictionIdCodec, replica: str) -> ServedModel:
        name, settings, metrics, described = backend.name, self.settings, self.metrics, backend.classifier

        def swapped(result: str) -> None:
            if self._guards:
                metrics.swaps.labels(name, result).inc()

        follower = follower_of(backend, self.store, settings, replica, swapped)
        counted, on = (self.ledger, codec, metrics), settings.statistics == "on"
        counting = PredictionLog(name, described.labels, described.decision, *counted, on=on)
        observing = ObservationLog(
            described,
            self.store,
            *counted,
            on=on,
            most=settings.max_observations,
            on_versions=lambda: follower.on_versions(),
        )
        model = ServedModel(backend, follower, settings, metrics, counting, observing, self._decoders)
        self._declare_groups(model)
        return model

    def _disclosure(self, key: bytes) -> Disclosure | None:
        settings = self.settings
        if settings.k_min == 0:
            return None
        rule = DisclosureRule(
            settings.k_min,
            settings.disclosure_hours,
            settings.disclosure_epsilon or None,
            settings.disclosure_wait_hours,
            key,
        )
        return Disclosure(self.ledger, rule, lambda name: len(self.models[name].classifier.labels))

    def _declare_groups(self, model: ServedModel) -> None:
        """Pass the model's declared groups to the ledger whenever a new version may have added some.

        Without a declaration, a service without keys that only this machine reaches counts any group name.
        """
        settings = self.settings
        if settings.groups == "open":
            return
        named = (model.classifier.spec.groups or ()) + (settings.declared_groups or {}).get(model.name, ())
        declarations = Declarations(model.name, self.store, named, settings.data_dir)
        alone = settings.keyless and settings.local

        def declare() -> None:
            groups = declarations.refresh()
            self.ledger.declare(model.name, groups if groups or not alone else None)

        model.controller.on_versions = declare

    async def start(self) -> None:
        """Open, log what a killed predecessor may have lost, apply the rollouts, warm up. On the event loop."""
        await asyncio.to_thread(self.open)
        for loss in self.ledger.lost_at_start:
            logger.warning("a killed service may have lost the counts of its last %.1f s", loss.seconds)
        for model in self.models.values():
            await asyncio.to_thread(model.controller.on_versions)
            if self.settings.groups == "declared" and not self.ledger.declared(model.name):
                logger.warning(UNDECLARED_MODEL, model.name)
            model.start()
            await asyncio.to_thread(model.prepare)
        self.guard.start()
        self._changed_endpoints.start()
        for reading in self._readings:
            reading.start()
        self._started = True

    async def close(self) -> None:
        """Write the counts, answer queued requests, write the last counts, release everything. On the event loop.

        Raises nothing; `shutdown.failed` names the steps that failed.
        """
        self.draining = True
        if not self._opened:
            return
        shutdown = self.shutdown
        await shutdown.step("the counts", self.ledger.flush, COUNTS_SECONDS)
        await shutdown.step("the guard", self.guard.stop)
        await shutdown.step("the watch of endpoints", self._changed_endpoints.stop)
        for reading in self._readings:
            await shutdown.step("what the metrics show", reading.stop)
        for model in self.models.values():
            await model.close(shutdown)
        await shutdown.step("the last counts", self.ledger.close, COUNTS_SECONDS)
        await shutdown.step("the decoders", self._decoders.shutdown)
        if self._owns_store:
            await shutdown.step("the store", self.store.close)
        await shutdown.step("the metrics", self.metrics.close)

    def _guard(self, settings: Settings, store: Store, *, acts: bool) -> Guard:
        rules = None if settings.guard is None else GuardRules.from_dict(settings.guard)
        webhook = settings.webhook_url and Webhook(settings.webhook_url.get_secret_value())

        def tell(alarm: dict[str, Any]) -> None:
            self.metrics.alarms.labels(alarm["model"], alarm["version"], alarm["test"]).inc()
            if webhook:
                webhook.send(alarm)

        return Guard(
            {name: GuardedModel(model, store, rules) for name, model in self.models.items()},
            self._weighed,
            seal_seconds=settings.guard_seal_seconds,
            every_seconds=settings.guard_seconds,
            on_alarm=tell,
            acts=acts,
        )

    def _weighed(
        self, model: str, level: Level, since_minute: int, until_minute: int, made_since: int = 0
    ) -> Mapping[Cell, int]:
        """The guard's counts: of predictions under `guard_keys` if any are set, else of all predictions."""
        series = series_name(model, "guard" if self.settings.guard_keys else "serve")
        return self.ledger.series(series, level, since_minute, until_minute, made_since)

    @property
    def alive(self) -> bool:
        """False if only a restart of this process can help."""
        return all(model.backend.alive for model in self.models.values())

    @property
    def broken(self) -> bool:
        """Whether it started, is not draining, and only a restart of this process can help."""
        return self._started and not self.draining and not self.alive

    @property
    def ready(self) -> bool:
        """Whether new requests should be sent here."""
        return self._started and not self.draining and all(model.backend.ready for model in self.models.values())


def _open_ledger(settings: Settings) -> Ledger:
    where = settings.ledger.get_secret_value() if settings.ledger else settings.data_dir / LEDGER_FILE
    runs = settings.data_dir / f"{LEDGER_FILE}.runs"
    return Ledger(
        where,
        runs=runs,
        flush_interval=settings.flush_seconds,
        busy_seconds=settings.ledger_seconds,
        max_cells=settings.ledger_cells,
    )


def _make_folder(folder: Path) -> None:
    """Make the data folder and check that it is writable. Raises ConfigError."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        problem = f"The data folder {folder} cannot be made or written ({error.strerror})"
        raise ConfigError(f"{problem}: set data_dir to one that this user may write.") from error
