"""Configuration of the report: the section [report] of a run."""

from __future__ import annotations

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass

from trainer.config.toml_schema import STRICT


@dataclass(frozen=True, config=STRICT)
class ReportConfig:
    """[report] Contents of the report; pages and pictures need `pip install 'fairtrigger[report]'`."""

    enabled: bool = True  # false: metrics.json and the model card alone
    rows: PositiveInt = 1000  # rows of a split for the group probes, at most
    examples: NonNegativeInt = 3  # real validation inputs that are shown, before and after; 0 for confidential ones
    saliency_steps: PositiveInt = 32  # integrated gradients: points between baseline and input
    price_per_hour: NonNegativeFloat | None = None  # of the machine, for the cost
    currency: str = "USD"
