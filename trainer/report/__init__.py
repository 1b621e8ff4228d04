"""The report of a run: figures, an HTML page, a model card."""

from trainer.report.cost import Stopwatch
from trainer.report.report import ReportInputs, report_of, write_report

__all__ = ["ReportInputs", "Stopwatch", "report_of", "write_report"]
