"""The first half of a run: the frozen classifier, fitted now if it is missing, and the data decoded for it."""

from __future__ import annotations

from pathlib import Path

import torch

from trainer.baselines.erm import fit_base, refuse_overlap
from trainer.config.run_config import RunConfig
from trainer.data.dataset import Splits
from trainer.data.loader import DataLoader
from trainer.determinism import reproducible
from trainer.progress import Progress
from triggers.errors import ConfigError
from triggers.model.bundle import SPEC_FILE, read_spec
from triggers.model.classifier import FrozenClassifier, load_bundle


def prepare(config: RunConfig, cache: Path, progress: Progress) -> tuple[FrozenClassifier, Splits]:
    """The frozen classifier and the decoded parts that triggers are trained and judged on. As `open_run` otherwise."""
    classifier, loader = open_run(config, cache, progress)
    return classifier, loader.splits(classifier)


def open_run(config: RunConfig, cache: Path, progress: Progress) -> tuple[FrozenClassifier, DataLoader]:
    """Open the data, fit the base classifier if its bundle is missing, load it.

    `cache` is the folder for decoded data. Raises ConfigError, DataError or ModelError.
    """
    device = pick_device(config.train.device)
    folder = config.model.bundle
    if (folder / SPEC_FILE).exists():
        spec = read_spec(folder)
        if spec.modality != config.modality:
            wanted = f"trigger.kind {config.trigger.kind!r} works on {config.modality}s"
            raise ConfigError(f"{folder} is a model of {spec.modality}s, but {wanted}.")
        loader = DataLoader(config, spec.labels, cache, progress)
        refuse_overlap(folder, loader)
    elif config.base:
        loader = DataLoader(config, config.base.labels, cache, progress)
        with reproducible(device, config.train.threads):
            fit_base(config, loader, device, progress)
    else:
        raise ConfigError(f"{folder} is no model bundle. Set model.bundle to one, or add [base] to fit one.")
    return load_bundle(folder, str(device)), loader


def pick_device(wanted: str) -> torch.device:
    """`auto` is the GPU if there is one. Raises ConfigError for a GPU that is not there."""
    present = torch.cuda.is_available()
    if wanted == "cuda" and not present:
        raise ConfigError('train.device is "cuda", but torch sees no GPU; use "auto" or "cpu".')
    return torch.device("cuda" if present and wanted != "cpu" else "cpu")
