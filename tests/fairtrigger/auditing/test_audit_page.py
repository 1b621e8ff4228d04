"""The page and the PDF of an audit: whole, without links to other files, nothing cut, names never taken for markup."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pypdfium2
import pytest

from fairtrigger.auditing import AuditReport, audit
from tests.dashboard.chromium import browser
from tests.fairtrigger.auditing.decisions import LOANS, decisions, score_rows, write_csv

HOSTILE = '<script>alert("x")</script> & | * `b`'


def loans(tmp_path: Path, **named: Any) -> AuditReport:
    rows = decisions(300, unlabelled=0.1)
    for row in rows[:40]:
        row["race"] = HOSTILE
    for row in rows[40:60]:
        row["race"] = "Ναυάγιο, île, אנשים"
    return audit(write_csv(tmp_path / "loans.csv", rows), **({**LOANS, "groups": ["sex", "race"]} | named))


def pdf_text(content: bytes) -> tuple[int, str]:
    document = pypdfium2.PdfDocument(content)
    pages = [page.get_textpage().get_text_range() for page in document]
    document.close()
    return len(pages), re.sub(r"\s+", " ", " ".join(pages))


@pytest.mark.parametrize("template", [None, "ll144", "ai-act", "model-card"])
def test_the_page_needs_nothing_else_and_shows_names_as_they_are(tmp_path: Path, template: Any) -> None:
    html = loans(tmp_path, template=template).html()
    assert "<script" not in html and "&lt;script&gt;alert(&#34;x&#34;)" in html
    assert not re.search(r"(src|href)=\"(?!#)", html) and "url(" not in html and "@import" not in html
    assert "prefers-color-scheme: dark" in html and "@media print" in html


def test_all_figures_stand_on_the_page_and_in_the_pdf(tmp_path: Path) -> None:
    from trainer.formatting import format_interval

    report = audit(write_csv(tmp_path / "scores.csv", score_rows()), positive="toxic", template="ai-act")
    pages, text = pdf_text(report.pdf())
    html = report.html()
    assert pages >= 4 and report.document["digest"] in text and report.document["digest"] in html
    for figures in report.figures.values():
        shown = [*figures["gaps"].values(), *figures["overall"].values()]
        shown += [rate for part in (figures, *figures["attributes"].values()) for group in part["groups"].values()
                  for rate in group.values()]  # fmt: skip
        for estimate in shown:
            if isinstance(estimate, dict) and estimate.get("aggregation") not in ("max to overall", "mean to overall"):
                assert format_interval(estimate) in text and format_interval(estimate) in html
    assert "Annex IV" in text and "9 monitoring after placing on the market" in text
    for sentence in (*report.findings, *report.cautions):
        assert re.sub(r"\s+", " ", sentence) in text


def test_letters_that_the_pdf_cannot_draw_are_said(tmp_path: Path) -> None:
    rows = decisions(100)
    assert "font lacks" not in pdf_text(audit(write_csv(tmp_path / "a.csv", rows), groups=["sex"], **LOANS).pdf())[1]
    for row in rows:
        row["sex"] = {"female": "女", "male": "男"}[row["sex"]]
    assert "font lacks" in pdf_text(audit(write_csv(tmp_path / "a.csv", rows), groups=["sex"], **LOANS).pdf())[1]


@pytest.mark.slow
def test_nothing_is_cut_in_a_browser(tmp_path: Path) -> None:
    report = loans(tmp_path, template="ll144", score="points")
    (place := tmp_path / "audit.html").write_text(report.html())
    complaints: list[str] = []
    with browser() as opened:
        for width, scheme in ((1280, "light"), (390, "dark")):
            page = opened.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)  # type: ignore[arg-type]
            page.on("console", lambda message: complaints.append(message.text))
            page.goto(place.as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") == width
            cut = """[...document.querySelectorAll('h1, h2, p, li, figcaption, .plot .name')]
                .filter((e) => e.scrollWidth > e.clientWidth + 1).map((e) => e.textContent)"""
            assert page.evaluate(cut) == []
            assert complaints == []
