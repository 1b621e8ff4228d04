"""The report of a run: figures, an HTML page, a model card."""

from trainer.report.cost import Stopwatch
from trainer.report.report import ReportInputs, report_of, write_report
from trainer.report.run_cautions import cautions
from trainer.report.run_summary import STATUS_WORDS, headline_sentence, verdict

__all__ = [
    "STATUS_WORDS",
    "ReportInputs",
    "Stopwatch",
    "cautions",
    "headline_sentence",
    "report_of",
    "verdict",
    "write_report",
]
