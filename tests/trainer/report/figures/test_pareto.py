"""What the front shows: every system at its accuracy and gap, under a mark that no other system has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.trainer.outcomes import image_config, image_outcome
from tests.trainer.reports import material, summarised
from trainer.report.figures.pareto import CHOSEN, KNOWN, NO_TRIGGER, SPARE_MARKERS, TRIGGER, front_figure
from triggers.model.classifier import FrozenClassifier


def test_every_system_is_told_from_the_others_without_colour() -> None:
    drawn = [NO_TRIGGER, TRIGGER, CHOSEN, *(style for name, style in KNOWN.items() if name != "black")]
    assert KNOWN["black"].marker == KNOWN["shrink"].marker, "a run has one of the two"
    marks = [(style.marker, style.line, style.filled) for style in drawn]
    assert len({*marks, *((marker, "none", False) for marker in SPARE_MARKERS)}) == len(marks) + len(SPARE_MARKERS)
    assert [style.name for style in drawn if style.filled] == [NO_TRIGGER.name, TRIGGER.name, CHOSEN.name]


def test_every_system_is_at_its_accuracy_and_gap(tmp_path: Path, image_model: FrozenClassifier) -> None:
    """Strength 0 to 5 leave gaps of .31 to .11, of 40 wrong rows and those that are not selected."""
    figure = front_figure(summarised(material(image_config(tmp_path), image_model, image_outcome())))
    gaps, odds = figure.axes
    assert (gaps.get_title(), odds.get_title()) == (
        "demographic parity difference (trained)",
        "average odds difference (not trained)",
    )
    lines = {str(line.get_label()): line for line in gaps.lines}
    for style, dots in (
        (NO_TRIGGER, [(1 - 0.405, 0.41)]),
        (TRIGGER, [(1 - 0.355, 0.31), (1 - 0.305, 0.21), (1 - 0.255, 0.11)]),
        (CHOSEN, [(1 - 0.305, 0.21)]),
    ):
        line = lines[style.name]
        assert np.asarray(line.get_xydata()) == pytest.approx(np.array(dots))
        assert line.get_markerfacecolor() == line.get_color() == style.colour
    assert [text.get_text() for text in gaps.texts] == ["0", "1", "5"]
