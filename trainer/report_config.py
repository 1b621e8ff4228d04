"""What a run's report shows, as configured: the section [report] of a run."""

from __future__ import annotations

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass

from trainer.tables import STRICT


@dataclass(frozen=True, config=STRICT)
class ReportConfig:
    """[report] What the run leaves for people; needs `pip install 'fairtrigger[report]'` for pages and pictures."""

    enabled: bool = True  # false: metrics.json and the model card alone
    rows: PositiveInt = 1000  # at most so many rows of a split for the group probes
    examples: NonNegativeInt = 3  # real validation inputs that are shown, before and after; 0 where nobody may see them
    saliency_steps: PositiveInt = 32  # integrated gradients: points between baseline and input
    price_per_hour: NonNegativeFloat | None = None  # of the machine, for the cost
    currency: str = "USD"
