"""Run configurations for tests that call the training loop directly, with data and classifier already in memory."""

from __future__ import annotations

from pathlib import Path

from trainer.config.data_config import DataConfig
from trainer.config.hyperparameters import Hyperparameters
from trainer.config.run_config import (
    ModelConfig,
    ObjectiveConfig,
    RunConfig,
    SelectConfig,
    TrainConfig,
    TriggerConfig,
)

NOWHERE = Path("unused")
OVERLAY = TriggerConfig("overlay", epsilon=0.3)
RECIPE = Hyperparameters(
    epochs=1,
    batch_size=64,
    lr=1e-3,
    weight_decay=0.01,
    schedule="linear",
    flip=False,
    shift=0,
    eval_every=None,
    bf16=False,
    seed=0,
)


def run_config(
    objective: ObjectiveConfig,
    *,
    trigger: TriggerConfig = OVERLAY,
    train: TrainConfig | None = None,
    select: SelectConfig | None = None,
) -> RunConfig:
    """A run over data in memory: [model] and [data] are never read."""
    return RunConfig(
        root=NOWHERE,
        model=ModelConfig(NOWHERE),
        data=DataConfig("csv", NOWHERE, label=("label",), group=("group",)),
        trigger=trigger,
        objective=objective,
        train=train or TrainConfig(steps=60, batch_size=128),
        select=select or SelectConfig(max_accuracy_drop=0.03),
    )
