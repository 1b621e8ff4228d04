"""Configuration of tracking: the section [track] of a run."""

from __future__ import annotations

from pydantic.dataclasses import dataclass

from trainer.config.toml_schema import STRICT, ConfigPath
from triggers.errors import ConfigError


@dataclass(frozen=True, config=STRICT)
class TrackingConfig:
    """[track] Where the history of a run is kept; it decides nothing. Needs `pip install 'fairtrigger[tracking]'`."""

    mlflow: str = ""  # a tracking server's address, sqlite:///..., or a folder; empty: none
    experiment: str = ""  # in MLflow; empty: the name of the model bundle's folder
    name: str = ""  # of the run; empty: the output folder's
    tensorboard: ConfigPath | None = None  # folder; the run has its own in it

    def __post_init__(self) -> None:
        if self.experiment and not self.mlflow:
            raise ConfigError("track.experiment has a meaning for track.mlflow only, which is missing.")
        if self.name and not (self.mlflow or self.tensorboard):
            raise ConfigError("track.name names a run in track.mlflow or track.tensorboard; give one of them.")
