"""The report's pictures, and those of them that are offered as figures. Needs matplotlib."""

from trainer.report.figures.figure_style import MATPLOTLIB_STYLE
from trainer.report.figures.groups import compared_reports, groups_figure
from trainer.report.figures.pareto import front_figure
from trainer.report.figures.time_lines import TimeMark, time_figure

__all__ = ["MATPLOTLIB_STYLE", "TimeMark", "compared_reports", "front_figure", "groups_figure", "time_figure"]
