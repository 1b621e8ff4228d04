"""The overview of a run before anything is trained: its data, the bare model, and what a run of this size can show."""

from trainer.overview.console_overview import print_overview
from trainer.overview.overview import Overview, make_overview

__all__ = ["Overview", "make_overview", "print_overview"]
