"""The running service: every model, the store, the counts, and the order in which they start and stop."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from service.metrics import Metrics
from service.served import ServedModel
from service.settings import Settings
from triggers.classifier import FrozenClassifier
from triggers.errors import ConfigError
from triggers.store import Store


class Running:
    """Holds what one process serves. `draining` is set when it was told to stop: not ready, but still answering."""

    def __init__(
        self, settings: Settings, store: Store, classifiers: Sequence[FrozenClassifier], *, owns_store: bool
    ) -> None:
        self.settings, self.store, self.metrics = settings, store, Metrics()
        self.draining = False
        self._owns_store = owns_store
        self._started = False
        self._decoders = ThreadPoolExecutor(settings.decode_threads, thread_name_prefix="decode")
        self.models: Mapping[str, ServedModel] = {
            classifier.name: ServedModel(classifier, store, settings, self.metrics, self._decoders)
            for classifier in _distinct(classifiers)
        }

    async def start(self) -> None:
        """Apply the rollouts, warm up, start the threads."""
        for model in self.models.values():
            await asyncio.to_thread(model.prepare)
            model.start()
        self._started = True

    async def close(self) -> None:
        """Answer what is queued, write the last counts, release everything."""
        self.draining = True
        for model in self.models.values():
            await model.close()
        self._decoders.shutdown()
        if self._owns_store:
            self.store.close()

    @property
    def alive(self) -> bool:
        """Whether every inference thread runs."""
        return all(model.batcher.alive for model in self.models.values())

    @property
    def ready(self) -> bool:
        """Whether new requests should be sent here."""
        return self._started and not self.draining and self.alive


def _distinct(classifiers: Sequence[FrozenClassifier]) -> Sequence[FrozenClassifier]:
    names = [classifier.name for classifier in classifiers]
    if not names:
        raise ConfigError("There is no model to serve: give --model FOLDER, or FAIRTRIGGER_MODELS.")
    if twice := {name for name in names if names.count(name) > 1}:
        raise ConfigError(f"Two bundles share the name {sorted(twice)}: change `name` in one model.json.")
    return classifiers
