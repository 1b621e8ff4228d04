"""What a run's report shows, as configured: the section [report] of a run."""

from __future__ import annotations

from dataclasses import dataclass

from trainer.tables import positive
from triggers.errors import ConfigError


@dataclass(frozen=True)
class ReportConfig:
    """[report] What the run leaves for people; needs `pip install 'fairtrigger[report]'` for pages and pictures."""

    enabled: bool = True  # false: metrics.json and the model card alone
    rows: int = 1000  # at most so many rows of a split for the group probes
    examples: int = 3  # real validation inputs that are shown, before and after; 0 where nobody may see them
    saliency_steps: int = 32  # integrated gradients: points between baseline and input
    price_per_hour: float | None = None  # of the machine, for the cost
    currency: str = "USD"

    def __post_init__(self) -> None:
        positive("report", self, "rows", "saliency_steps")
        if self.examples < 0 or (self.price_per_hour or 0) < 0:
            wrong = f"report.examples is {self.examples}, report.price_per_hour is {self.price_per_hour}"
            raise ConfigError(f"{wrong}; neither can be less than 0.")
