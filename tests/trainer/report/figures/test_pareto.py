"""What the front shows: every system at its accuracy and gap, under a mark that no other system has."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from tests.trainer.outcomes import counts, image_config, image_outcome
from tests.trainer.reports import compared, material, summarised
from trainer.report.figures.pareto import (
    BY_STRENGTH,
    CHOSEN,
    KNOWN,
    NO_TRIGGER,
    SPARE_MARKERS,
    STATUS_STYLES,
    front_figure,
)
from triggers.model.classifier import FrozenClassifier


def test_every_system_is_told_from_the_others_without_colour() -> None:
    drawn = [
        NO_TRIGGER,
        BY_STRENGTH,
        *STATUS_STYLES.values(),
        CHOSEN,
        *(style for name, style in KNOWN.items() if name != "black"),
    ]
    assert KNOWN["black"].marker == KNOWN["shrink"].marker, "a run has one of the two"
    marks = [(style.marker, style.line, style.filled) for style in drawn]
    assert len({*marks, *((marker, "none", False) for marker in SPARE_MARKERS)}) == len(marks) + len(SPARE_MARKERS)
    filled = [NO_TRIGGER, STATUS_STYLES["certified"], STATUS_STYLES["not recommended"], CHOSEN]
    assert [style for style in drawn if style.filled] == filled


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
        (BY_STRENGTH, [(1 - 0.355, 0.31), (1 - 0.305, 0.21), (1 - 0.255, 0.11)]),
        (STATUS_STYLES["certified"], [(1 - 0.355, 0.31), (1 - 0.305, 0.21), (1 - 0.255, 0.11)]),
        (CHOSEN, [(1 - 0.305, 0.21)]),
    ):
        line = lines[style.name]
        assert np.asarray(line.get_xydata()) == pytest.approx(np.array(dots))
        assert line.get_color() == style.colour
        assert line.get_markerfacecolor() == (style.colour if style.filled else "white")
    assert [text.get_text() for text in gaps.texts] == ["0", "1", "5"]


def test_the_three_words_are_told_apart_by_their_marks(tmp_path: Path, image_model: FrozenClassifier) -> None:
    """Strength 0 is certified, 1 promising and recommended, 5 neither."""
    summary = summarised(material(image_config(tmp_path), image_model, image_outcome()))
    for at, status in ((1, "promising"), (2, "not recommended")):
        summary["candidates"][at]["selection"]["status"] = status
    figure = front_figure(summary)
    lines = {str(line.get_label()): line for line in figure.axes[0].lines}
    gaps = {
        status: np.asarray(lines[style.name].get_xydata())[:, 1].tolist() for status, style in STATUS_STYLES.items()
    }
    assert gaps == {"certified": [pytest.approx(0.31)], "promising": [pytest.approx(0.21)],
                    "not recommended": [pytest.approx(0.11)]}  # fmt: skip
    assert lines[CHOSEN.name].get_markerfacecolor() == "white"  # as promising
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert {style.name for style in STATUS_STYLES.values()} < set(named)


def test_no_label_lies_on_a_dot_or_on_another_label(tmp_path: Path, image_model: FrozenClassifier) -> None:
    """Of dots that are about as far apart as a label is wide."""
    outcome, config = image_outcome(), image_config(tmp_path)
    strengths = tuple(float(n) for n in range(10, 16))
    close = tuple(
        replace(
            outcome.candidates[0], strength=strength, counts=dict.fromkeys(("val", "test"), counts(31 - at, 20 + at))
        )
        for at, strength in enumerate(strengths)
    )
    config = replace(config, objective=replace(config.objective, strengths=strengths))
    figure = front_figure(summarised(material(config, image_model, replace(outcome, candidates=close))))
    figure.canvas.draw()
    for panel in figure.axes:
        labels = [text.get_window_extent() for text in panel.texts]
        dots = np.concatenate([panel.transData.transform(line.get_xydata()) for line in panel.lines])
        assert len(labels) == len(strengths) and not any(one.overlaps(other) for one, other in combinations(labels, 2))
        assert not any(label.contains(*dot) for label in labels for dot in dots)


def test_a_control_that_is_far_less_accurate_is_told_in_a_corner_instead_of_drawn(
    tmp_path: Path, image_model: FrozenClassifier
) -> None:
    outcome, config = image_outcome(), image_config(tmp_path)
    wrong = summarised(
        material(config, image_model, replace(outcome, bare=dict.fromkeys(("val", "test"), counts(50, 50))))
    )
    summary = summarised(material(config, image_model, outcome))
    summary["comparisons"] = [compared(wrong, "constant", "always 1", chosen=True)]
    figure = front_figure(summary)
    figure.canvas.draw()
    for panel in figure.axes:
        (told,) = (text for text in panel.texts if text.get_text().startswith("←"))
        assert told.get_text() == "← constant predictor at .250, gap .500"
        low, inside = told.get_window_extent(), panel.get_window_extent()
        assert inside.contains(low.x0, low.y0) and low.y1 < (inside.y0 + inside.y1) / 2
        assert panel.get_xlim()[0] > 0.5 and KNOWN["constant"].name not in [line.get_label() for line in panel.lines]
