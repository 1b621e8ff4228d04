"""What a run leaves: figures, an HTML page, a model card."""

from trainer.report.cost import Stopwatch
from trainer.report.report import Material, report_of, write_report

__all__ = ["Material", "Stopwatch", "report_of", "write_report"]
