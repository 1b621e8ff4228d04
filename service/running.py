"""The running service: every model, the store, the counts, and the order in which they start and stop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from service.collectors import FairnessCollector, GuardCollector, ProcessCollector, ServingCollector
from service.counting import Counting
from service.declared_groups import Declarations
from service.disclosure import Disclosure, Rule
from service.event import Cell, series_of
from service.guard import Guard
from service.guarded import GuardedModel
from service.keyring import Keyring
from service.ledger import Ledger
from service.metrics import Metrics
from service.monitor import Monitor
from service.parting import COUNTS_SECONDS, Shutdown
from service.parts import Parts, Processes
from service.periods import Level
from service.receipts import Receipts
from service.served import ServedModel
from service.settings import Settings
from service.webhook import Webhook
from service.windows import Windows
from triggers.errors import ConfigError
from triggers.rules import Rules
from triggers.store import Store

logger = logging.getLogger(__name__)

LEDGER_FILE = "ledger.sqlite"
UNDECLARED_MODEL = (
    "model %s: nobody has declared its groups, so what requests name may not be counted: publish a trigger for it, set "
    "`groups` in its model.json or declared_groups, or say groups=open"
)


class Running:
    """Holds what one process serves. `draining` is set when it was told to stop: not ready, but still answering.

    `store` opens the store, and `models` puts the models together on it, when the service is opened. Of several
    processes that share everything one `guards`: acts on alarms and tells of them. `processes` are those that compute,
    where devices are listed.
    """

    def __init__(
        self,
        settings: Settings,
        store: Callable[[], Store],
        metrics: Metrics,
        models: Callable[[Store], Sequence[Parts]],
        *,
        owns_store: bool,
        guards: bool = True,
        processes: Processes | None = None,
    ) -> None:
        self.settings, self.metrics, self.processes = settings, metrics, processes
        self.draining = False
        self.keyring = Keyring(settings)
        self.admin_port = settings.admin_port
        self.models: Mapping[str, ServedModel] = {}
        self.shutdown = Shutdown()
        self._open_store, self._build_models = store, models
        self._owns_store, self._guards = owns_store, guards
        self._opened = self._started = False

    def open(self) -> None:
        """Open the store and the ledger and put everything together; a second call changes nothing.

        Until then there is no file, connection or thread. Raises ConfigError, ModelError or StoreUnavailable, and then
        leaves nothing open.
        """
        if self._opened:
            return
        with ExitStack() as undo:
            settings = self.settings
            _make_folder(settings.data_dir)
            keys = [key.get_secret_value() for key in settings.receipt_keys]
            receipts = Receipts.from_folder(settings.data_dir, keys)
            self.store = self._open_store()
            if self._owns_store:
                undo.callback(self.store.close)
            models = self._build_models(self.store)
            self.ledger = _open_ledger(settings)
            undo.callback(self.ledger.close)
            self._assemble(models, receipts)
            undo.pop_all()
        self._opened = True

    def _assemble(self, models: Sequence[Parts], receipts: Receipts) -> None:
        settings, metrics = self.settings, self.metrics
        self._decoders = ThreadPoolExecutor(settings.decode_threads, thread_name_prefix="decode")
        self.models = {
            each.name: ServedModel(
                each,
                settings,
                metrics,
                Counting(
                    each.name, each.classifier.labels, self.ledger, receipts, metrics, on=settings.statistics == "on"
                ),
                self._decoders,
            )
            for each in models
        }
        for each in models:
            self._declare_groups(each)
        self.guard = self._guard(settings, self.store, acts=self._guards)
        self.monitor = Monitor(
            self.ledger,
            {each.name: each.classifier for each in models},
            overlapping=lambda name: self.models[name].predictor.groups_overlap,
            alarms=self.guard.report,
            windows=Windows(self.ledger, self._disclosure(receipts.noise_key, models)),
        )
        serving, fairness = ServingCollector(self.models), FairnessCollector(self.monitor, self.models)
        self._readings = (serving.reading, fairness.reading)
        for collector in (serving, fairness, GuardCollector(self.guard, self.models)):
            metrics.add(collector)
        if self.processes:
            metrics.add(ProcessCollector(self.processes))

    def _disclosure(self, key: bytes, models: Sequence[Parts]) -> Disclosure | None:
        settings = self.settings
        if settings.k_min == 0:
            return None
        rule = Rule(
            settings.k_min,
            settings.disclosure_hours,
            settings.disclosure_epsilon or None,
            settings.disclosure_wait_hours,
            key,
        )
        labels = {each.name: len(each.classifier.labels) for each in models}
        return Disclosure(self.ledger, rule, labels.__getitem__)

    def _declare_groups(self, model: Parts) -> None:
        """Let the ledger hear of the model's declared groups whenever there may be more.

        Where nothing is declared, and only users of this machine reach a service without keys, any name counts.
        """
        settings = self.settings
        if settings.groups == "open":
            return
        named = (model.classifier.spec.groups or ()) + (settings.declared_groups or {}).get(model.name, ())
        declarations = Declarations(model.name, self.store, named)
        alone = settings.keyless and settings.local

        def declare() -> None:
            groups = declarations.refresh()
            self.ledger.declare(model.name, groups if groups or not alone else None)

        model.follower.on_versions = declare

    async def start(self) -> None:
        """Open what is not open yet, say what a killed predecessor may have lost, apply the rollouts, warm up."""
        await asyncio.to_thread(self.open)
        for loss in self.ledger.lost_at_start:
            logger.warning("a killed service may have lost the counts of its last %.1f s", loss.seconds)
        for model in self.models.values():
            await asyncio.to_thread(model.follower.on_versions)
            if self.settings.groups == "declared" and not self.ledger.declared(model.name):
                logger.warning(UNDECLARED_MODEL, model.name)
            model.start()
            await asyncio.to_thread(model.prepare)
        self.guard.start()
        for reading in self._readings:
            reading.start()
        self._started = True

    async def close(self) -> None:
        """Write the counts, answer what is queued, write what that added, release everything; raises nothing.

        `shutdown.failed` names what could not be done.
        """
        self.draining = True
        if not self._opened:
            return
        shutdown = self.shutdown
        await shutdown.step("the counts", self.ledger.flush, COUNTS_SECONDS)
        await shutdown.step("the guard", self.guard.stop)
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
        rules = None if settings.guard is None else Rules.from_dict(settings.guard)
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
        """What the guard reads: the counts of all predictions, or of those of trusted keys, if there are any."""
        series = series_of(model, "guard" if self.settings.guard_keys else "serve")
        return self.ledger.series(series, level, since_minute, until_minute, made_since)

    @property
    def alive(self) -> bool:
        """False if only a restart of this process can help."""
        return all(model.batcher.alive for model in self.models.values())

    @property
    def ready(self) -> bool:
        """Whether new requests should be sent here."""
        return self._started and not self.draining and all(model.batcher.ready for model in self.models.values())


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
    """Make the data folder, and see that it can be written. Raises ConfigError."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        problem = f"The data folder {folder} cannot be made or written ({error.strerror})"
        raise ConfigError(f"{problem}: set data_dir to one that this user may write.") from error
