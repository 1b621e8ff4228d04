"""The run configuration: TOML, read strictly."""

from trainer.config.data_config import DataConfig
from trainer.config.example_config import EXAMPLE_CONFIG
from trainer.config.run_config import (
    BaseConfig,
    Criterion,
    ObjectiveConfig,
    RunConfig,
    SelectConfig,
    TrainConfig,
    load_config,
    parse_config,
    to_dict,
)

__all__ = [
    "EXAMPLE_CONFIG",
    "BaseConfig",
    "Criterion",
    "DataConfig",
    "ObjectiveConfig",
    "RunConfig",
    "SelectConfig",
    "TrainConfig",
    "load_config",
    "parse_config",
    "to_dict",
]
