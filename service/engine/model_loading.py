"""The model bundles of the settings, loaded one by one: a bad one keeps the others from nothing, unless `strict`."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import OutOfMemoryError

from service.config import Settings
from triggers.errors import ConfigError, ModelError
from triggers.model import FrozenClassifier, load_bundle
from triggers.model.bundle import SPEC_FILE
from triggers.storage.regular_file import read_regular

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FailedModel:
    """A bundle that is not served; `reason` has a line for each fault."""

    name: str
    folder: str
    reason: str


@dataclass(frozen=True, eq=False)
class LoadedModels:
    """The models that passed their self-check, and those that did not."""

    classifiers: Sequence[FrozenClassifier]
    failed: Sequence[FailedModel] = ()


def load_models(settings: Settings, device: str) -> LoadedModels:
    """Load every model bundle of the settings onto a device.

    Raises ConfigError, or ModelError with the lines of all that failed: if none is left, or one failed under `strict`.
    """
    loaded: list[FrozenClassifier] = []
    failed: list[FailedModel] = []
    for folder in settings.models:
        try:
            loaded.append(
                load_bundle(folder, device, settings.factories, settings.endpoint_allow_list, ask_endpoint=False)
            )
        except (ModelError, OutOfMemoryError) as error:
            failed.append(FailedModel(_name(folder), str(folder), str(error)))
    _check_names([each.name for each in loaded] + [each.name for each in failed])
    if failed and (settings.strict or not loaded):
        raise ModelError("\n".join(each.reason for each in failed))
    for each in failed:
        logger.error("model %s (%s) is not served: %s", each.name, each.folder, each.reason)
    return LoadedModels(loaded, failed)


def _check_names(names: Sequence[str]) -> None:
    if not names:
        raise ConfigError("There is no model to serve: give --model FOLDER, or FAIRTRIGGER_MODELS.")
    if twice := {name for name in names if names.count(name) > 1}:
        raise ConfigError(f"Two bundles share the name {sorted(twice)}: change `name` in one model.json.")


def _name(folder: Path) -> str:
    """The name in a bundle that cannot be loaded, or its folder's."""
    try:
        name = json.loads(read_regular(folder / SPEC_FILE))["name"]
    except (OSError, ValueError, KeyError, TypeError):
        name = None
    return name if isinstance(name, str) else folder.resolve().name
