"""The page: self-contained, well-formed, readable by machines, and escaped."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from matplotlib import rc_context

from tests.trainer.outcomes import image_config, image_outcome
from tests.trainer.reports import Page, compared, material, summarised, written
from trainer.report.figures.figure_style import MATPLOTLIB_STYLE
from trainer.report.figures.pareto import draw_front, front_figure
from trainer.report.html_page import PageExtras, Token, render_page
from triggers.model.classifier import FrozenClassifier


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory, image_model: FrozenClassifier) -> str:
    folder = tmp_path_factory.mktemp("report")
    written(folder, material(image_config(folder), image_model, image_outcome()))
    return (folder / "report.html").read_text()


def test_nothing_comes_from_elsewhere(html: str) -> None:
    page = Page(html)
    assert not page.named("script", "link", "iframe")
    assert "http" not in html
    assert "url(" not in html
    assert all((one["src"] or "").startswith("data:image/png;base64,") for one in page.named("img"))


def test_it_is_well_formed_and_accessible(html: str) -> None:
    page = Page(html)
    assert not page.open
    assert page.named("html") == [{"lang": "en"}]
    assert all(len(one["alt"] or "") > 20 and one["width"] and one["height"] for one in page.named("img"))
    assert len(page.named("main")) == len(page.named("header")) == len(page.named("nav")) == 1
    headings = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert headings[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(headings))
    assert {one["scope"] for one in page.named("th")} == {"col", "row"}
    ids = [one["id"] for _, one in page.tags if one.get("id")]
    assert len(set(ids)) == len(ids)
    assert {(one["href"] or "")[1:] for one in page.named("a")} <= set(ids)
    assert {one["aria-labelledby"] for _, one in page.tags if one.get("aria-labelledby")} <= set(ids)


def test_it_knows_the_dark_and_paper(html: str) -> None:
    assert "prefers-color-scheme: dark" in html
    assert "@media print" in html


def test_what_comes_from_data_is_escaped(tmp_path: Path, image_model: FrozenClassifier) -> None:
    summary = summarised(material(image_config(tmp_path), image_model, image_outcome()))
    summary["labels"] = ["<script>alert(1)</script>", "a & b"]
    html = _rendered(tmp_path, summary, tokens=[([Token("<b>", 0.5, False)], [Token("<i>", -0.1, True)])])
    assert not Page(html).named("script", "b", "i")
    assert "&lt;script&gt;" in html


def test_tokens_show_their_sign_and_size_without_colour(tmp_path: Path, image_model: FrozenClassifier) -> None:
    summary = summarised(material(image_config(tmp_path), image_model, image_outcome()))
    said = {"prediction": 0, "score": 0.4}
    summary["examples"] = [{"group": "men", "label": 1, "bare": said, "trigger": said, "trigger_share": 0.25}]
    html = _rendered(tmp_path, summary, tokens=[([Token("kind", -0.5, False)], [Token("old", 0.1, True)])])
    first, second = (one["class"] for one in Page(html).named("span") if "word" in (one.get("class") or "").split())
    assert first == "word strong against"
    assert second == "word own"
    assert "−.50" in html and "+.10" in html  # noqa: RUF001


def test_comparisons_are_on_the_page_and_in_the_front(tmp_path: Path, image_model: FrozenClassifier) -> None:
    summary = summarised(material(image_config(tmp_path), image_model, image_outcome()))
    without = _rendered(tmp_path, summary)
    plain = draw_front(tmp_path / "plain.png", summary).read_bytes()
    summary["comparisons"] = [
        compared(summary, "adv_post", "strength 0.5", chosen=True, strength=0.5),
        compared(summary, "threshold", "shift +0.1", chosen=True),
        compared(summary, "threshold", "shift +0.2"),
        compared(summary, "a_new_system", "as it is"),
    ]
    text = Page(_rendered(tmp_path, summary)).text
    assert "This run made no baselines" in without
    assert "This run made no baselines" not in text
    for words in ("AdvPost", "strength 0.5 (picked)", "threshold shift", "shift +0.1", "a new system"):
        assert words in text
    assert "shift +0.2" not in text  # of a curve only what was picked
    assert draw_front(tmp_path / "compared.png", summary).read_bytes() != plain


def test_a_whole_curve_moves_the_front(tmp_path: Path, image_model: FrozenClassifier) -> None:
    outcome = image_outcome()
    summary = summarised(material(image_config(tmp_path), image_model, outcome))
    other = summarised(
        material(image_config(tmp_path), image_model, replace(outcome, bare=outcome.candidates[0].counts))
    )
    curve = [compared(summary, "threshold", "a"), compared(other, "threshold", "b")]
    drawn = []
    for name, ones in (("two", curve), ("one", curve[:1])):
        drawn.append(draw_front(tmp_path / f"{name}.png", summary | {"comparisons": ones}).read_bytes())
    assert drawn[0] != drawn[1]


@pytest.mark.parametrize("comparisons", [0, 6])
def test_nothing_of_the_front_is_cut_off_or_lies_on_something_else(
    tmp_path: Path, image_model: FrozenClassifier, comparisons: int
) -> None:
    summary = summarised(material(image_config(tmp_path), image_model, image_outcome()))
    summary["comparisons"] = [compared(summary, f"system_{n}", "as it is", chosen=True) for n in range(comparisons)]
    with rc_context(MATPLOTLIB_STYLE):
        figure = front_figure(summary)
        figure.canvas.draw()
        page, legend = figure.bbox, figure.legends[0].get_window_extent()
        panels = [box for panel in figure.axes if (box := panel.get_tightbbox())]
    assert all(page.containsx(box.x0) and page.containsx(box.x1) for box in (*panels, legend))
    assert all(page.containsy(box.y0) and page.containsy(box.y1) for box in (*panels, legend))
    left, right = panels
    assert not any(bool(one.overlaps(other)) for one, other in ((left, right), (legend, left), (legend, right)))
    assert sum(box.width * box.height for box in panels) > 0.6 * page.width * page.height


def _rendered(folder: Path, summary: dict[str, Any], tokens: Any = ()) -> str:
    cost = {"phases": [], "total_seconds": 1.0, "steps": 3, "strengths": 1, "batch_size": 2, "inputs_per_second": None}
    cost |= {"passes_per_second": None, "device": "cpu", "peak_memory_bytes": 1, "peak_memory_of": "x", "cost": None}
    picture = draw_front(folder / "front.png", summary)
    return render_page(summary | {"cost": cost}, PageExtras(dict.fromkeys(("front", "groups"), picture), tokens))
