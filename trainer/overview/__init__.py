"""What the terminal says of a run: the overview before anything is trained, and the summary of what came of it."""

from trainer.overview.console_overview import print_overview
from trainer.overview.console_summary import print_summary
from trainer.overview.overview import Overview, make_overview

__all__ = ["Overview", "make_overview", "print_overview", "print_summary"]
