"""Small models on a CPU, computed by the very processes that decode: handing an input over would take longer.

Each such process has the weights, which are small, and follows the store like a replica. The inference process has them
too; it is asked to follow after every change, and what it then tells everybody makes the others look.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from service.links import Links
from service.metrics import Metrics
from service.parts import LocalParts, Parts, local_parts
from service.remote import RemoteModel, RemoteTriggers, remote_parts
from service.rollout import Follower
from service.settings import Settings
from triggers.bundle import read_spec
from triggers.classifier import FrozenClassifier, load_bundle
from triggers.errors import FairtriggerError, ModelError
from triggers.preprocessor import load_preprocessor
from triggers.store import Store

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class NearParts(LocalParts):
    """A model that is computed here, of which the inference processes have to hear."""

    links: Links | None = None

    def start(self) -> None:
        """Begin; inside the event loop."""
        if self.links:
            self.links.start()
        super().start()


def parts_of(links: Links, store: Store, settings: Settings, metrics: Metrics, replica: str) -> list[Parts]:
    """Every model, computed here or by the inference processes, whichever takes less. Raises ModelError."""
    models: list[Parts] = []
    for folder in settings.models:
        told = links.hello["models"].get(read_spec(folder).name, {})
        if told.get("at_once") and not settings.devices:
            models.append(
                _near_parts(load_bundle(folder, factories=settings.factories), links, store, settings, metrics, replica)
            )
        else:
            there = RemoteModel(load_preprocessor(folder), links)
            models.append(remote_parts(there, links, store, settings, replica))
    near = [model.follower for model in models if isinstance(model, NearParts)]
    links.on_views = lambda: _look(near)
    return models


def _near_parts(
    classifier: FrozenClassifier, links: Links, store: Store, settings: Settings, metrics: Metrics, replica: str
) -> NearParts:
    if classifier.fingerprint != RemoteModel(classifier, links).fingerprint:
        raise ModelError(f"The bundle of {classifier.name!r} was changed while it was loaded: restart the service.")
    triggers = RemoteTriggers(classifier.name, links)
    parts = local_parts(classifier, store, settings, metrics, replica, lambda name: _spread(triggers), near=True)
    return NearParts(parts.classifier, parts.predictor, parts.batcher, parts.follower, parts.inline, links)


def _spread(elsewhere: RemoteTriggers) -> None:
    """A rollout was followed or refused here: let the others look too. Whatever they say, it holds here."""
    try:
        errors = elsewhere.follow()
    except (FairtriggerError, OSError) as error:
        errors = [error]
    for each in errors:
        logger.warning("model %s: other processes will hear of the rollout later: %s", elsewhere.name, each)


def _look(followers: Sequence[Follower]) -> None:
    for follower in followers:
        follower.look()
