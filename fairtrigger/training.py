"""Training: a run of the trainer from within a program."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triggers.errors import ConfigError

if TYPE_CHECKING:
    from trainer.config import RunConfig
    from trainer.train import FinishedRun


@dataclass(frozen=True)
class TrainedTrigger:
    """One trained trigger: its file and digest, what validation says of it, its version if it was published."""

    strength: float
    status: str
    recommended: bool
    digest: str
    path: Path
    version: str | None


@dataclass(frozen=True)
class TrainedRun:
    """A finished run: its folder and files, the figures of metrics.json, and the triggers in the order of strengths."""

    folder: Path
    figures: Mapping[str, Any]
    triggers: tuple[TrainedTrigger, ...]
    notes: tuple[str, ...]
    files: tuple[Path, ...]

    @property
    def recommended(self) -> TrainedTrigger | None:
        """The trigger that validation recommends, if any."""
        return next((one for one in self.triggers if one.recommended), None)


def train(
    config: str | Path | Mapping[str, Any] | RunConfig,
    *,
    out: str | Path | None = None,
    overrides: Sequence[str] = (),
    fresh: bool = False,
    progress: bool = False,
) -> TrainedRun:
    """Triggers for a frozen classifier, learned, judged and published as `python -m trainer` does, on one device.

    `config` is a TOML file, the same as nested mappings (paths start from the present folder), or a RunConfig.
    `overrides` are "key=value" as after `--set`. `out` is the folder of what is made, by default runs/NAME after the
    file. A run that was killed goes on there, unless `fresh`. With `progress` it is shown on stderr. Raises
    ConfigError, DataError, ModelError or StoreError.
    """
    from trainer.progress import open_progress
    from trainer.train import train as run

    settings, folder = _settings(config, overrides), _folder(config, out)
    with (
        nullcontext(sys.stderr) if progress else open(os.devnull, "w") as stream,
        open_progress(stream) as shown,
    ):
        return _finished(folder, run(settings, folder, shown, fresh=fresh))


def _settings(config: str | Path | Mapping[str, Any] | RunConfig, overrides: Sequence[str]) -> RunConfig:
    from trainer.config import RunConfig, load_config, parse_config

    if isinstance(config, str | Path):
        return load_config(Path(config), overrides)
    if isinstance(config, Mapping):
        return parse_config(config, Path.cwd(), overrides)
    if overrides:
        raise ConfigError(
            "overrides change a file or a mapping; of a RunConfig change the fields (dataclasses.replace)."
        )
    assert isinstance(config, RunConfig)
    return config


def _folder(config: object, out: str | Path | None) -> Path:
    if out is not None:
        return Path(out)
    if isinstance(config, str | Path):
        return Path("runs") / Path(config).stem
    raise ConfigError("Say with out where the run's files shall go: only a TOML file gives the folder a name.")


def _finished(folder: Path, finished: FinishedRun) -> TrainedRun:
    from trainer.train import TRIGGERS

    result, versions = finished.result, {one.digest: f"v{one.version}" for one in finished.published}
    triggers = tuple(
        TrainedTrigger(
            strength=candidate.strength,
            status=candidate.selection.status,
            recommended=at == result.best,
            digest=artifact.digest,
            path=folder / TRIGGERS / f"strength-{candidate.strength:g}.safetensors",
            version=versions.get(artifact.digest),
        )
        for at, (candidate, artifact) in enumerate(zip(result.candidates, finished.artifacts, strict=True))
    )
    figures = json.loads((folder / "metrics.json").read_bytes())
    return TrainedRun(folder, figures, triggers, tuple(result.notes), tuple(finished.files))
