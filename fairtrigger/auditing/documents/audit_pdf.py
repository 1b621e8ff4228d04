"""An audit as an A4 PDF of the same sections as the page. Needs fpdf2, and matplotlib for its font."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from fairtrigger.auditing.documents.audit_page import NEEDS_EXTRA
from fairtrigger.auditing.documents.audit_sections import page_sections, page_title
from fairtrigger.auditing.documents.page_parts import IntervalPlot, PageSection, PageTable
from triggers.errors import ConfigError

FONT = "DejaVu"
MARGIN, WIDTH, BOTTOM = 14.0, 182.0, 18.0
"""Millimetres of an A4 page."""
VERSION_COLOURS = ((31, 95, 168), (179, 86, 11), (29, 107, 52), (122, 59, 143))
INK, SOFT, HAIRLINE = (26, 26, 26), (87, 87, 87), (200, 200, 200)


def audit_pdf(document: Mapping[str, Any]) -> bytes:
    """The PDF. Letters that its font lacks are drawn as boxes, and a line at the end says so. Raises ConfigError."""
    pdf, known = _new_pdf(document)
    sections = page_sections(document)
    for section in sections:
        _section(pdf, section)
    if any(not known.issuperset(map(ord, text)) for text in _texts(sections)):
        _text(pdf, "Some names hold letters that this file's font lacks: audit.html and audit.json have them.", 8, SOFT)
    return bytes(pdf.output())


def _new_pdf(document: Mapping[str, Any]) -> tuple[Any, frozenset[int]]:
    """An empty document with its first heading, and the characters that its font can draw."""
    try:
        import matplotlib
        from fpdf import FPDF
    except ImportError as error:
        raise ConfigError(NEEDS_EXTRA) from error
    footer = f"{page_title(document)} · {document['digest']}"

    class Pages(FPDF):  # type: ignore[misc, unused-ignore]
        def footer(self) -> None:
            self.set_y(-12)
            self.set_font(FONT, size=6.5)
            self.set_text_color(*SOFT)
            self.cell(WIDTH - 20, 5, _fitted(self, footer, WIDTH - 22))
            self.cell(20, 5, f"{self.page_no()} / {{nb}}", align="R")

    pdf = Pages(format="A4")
    fonts = Path(matplotlib.get_data_path()) / "fonts/ttf"
    pdf.add_font(FONT, "", fonts / "DejaVuSans.ttf")
    pdf.add_font(FONT, "B", fonts / "DejaVuSans-Bold.ttf")
    pdf.set_margins(MARGIN, 16, MARGIN)
    pdf.set_auto_page_break(True, BOTTOM)
    pdf.set_title(page_title(document))
    pdf.set_lang("en")
    pdf.set_creator(f"fairtrigger {document['software']['version']}")
    pdf.set_creation_date(datetime.fromisoformat(document["created_at"]))
    pdf.add_page()
    _text(pdf, f"fairtrigger audit, {document['created_at'][:10]}", 8, SOFT)
    _text(pdf, page_title(document), 18, bold=True)
    return pdf, frozenset(getattr(pdf.fonts[FONT.lower()], "cmap", ())) | {10}


def _section(pdf: Any, section: PageSection) -> None:
    if pdf.get_y() > pdf.h - 60:
        pdf.add_page()
    pdf.ln(3)
    pdf.set_draw_color(*INK)
    pdf.line(MARGIN, pdf.get_y(), MARGIN + WIDTH, pdf.get_y())
    pdf.ln(1.5)
    pdf.start_section(section.title)
    _text(pdf, section.title, 12.5, bold=True)
    for sentence in section.sentences:
        _text(pdf, sentence, 8.5)
    for point in section.points:
        _text(pdf, f"•  {point}", 8.5)
    for part in section.parts:
        if isinstance(part, IntervalPlot):
            _plot(pdf, part)
        else:
            _table(pdf, part)


def _text(pdf: Any, text: str, size: float, colour: tuple[int, int, int] = INK, *, bold: bool = False) -> None:
    pdf.set_font(FONT, "B" if bold else "", size)
    pdf.set_text_color(*colour)
    pdf.multi_cell(WIDTH, size * 0.5, text, align="L", new_x="LMARGIN", new_y="NEXT")
    pdf.ln(0.8)


def _table(pdf: Any, table: PageTable) -> None:
    from fpdf.enums import TableBordersLayout, TableHeadingsDisplay
    from fpdf.fonts import FontFace

    if pdf.get_y() > pdf.h - 45:
        pdf.add_page()
    if table.caption:
        pdf.ln(1.5)
        _text(pdf, table.caption, 7.5, SOFT)
    size = 7.0 if len(table.head) <= 7 else 6.2
    widths = _widths(pdf, table, size)
    pdf.set_font(FONT, "", size)
    pdf.set_fill_color(255)
    pdf.set_text_color(*INK)
    pdf.set_draw_color(*HAIRLINE)
    headed = any(table.head)
    words = len(table.head) if table.prose else table.texts
    with pdf.table(
        width=min(sum(widths), WIDTH),
        align="LEFT",
        col_widths=widths,
        text_align=tuple("LEFT" if at < words else "RIGHT" for at in range(len(table.head))),
        borders_layout=TableBordersLayout.HORIZONTAL_LINES,
        line_height=size * 0.52,
        padding=(0.7, 1.2, 0.7, 0),
        headings_style=FontFace(emphasis="BOLD"),
        first_row_as_headings=headed,
        repeat_headings=TableHeadingsDisplay.ON_TOP_OF_EVERY_PAGE if headed else TableHeadingsDisplay.NONE,
    ) as drawn:
        for cells in [*([table.head] if headed else []), *table.rows]:
            row = drawn.row()
            for cell in cells:
                row.cell(cell)
    pdf.ln(2)


def _widths(pdf: Any, table: PageTable, size: float) -> tuple[float, ...]:
    """Columns as wide as their longest text, within limits, as figures are never broken; of prose the last takes what
    is left. Where that is too wide, the words give way.
    """
    pdf.set_font(FONT, "B", size)
    columns = list(zip(table.head, *table.rows, strict=True))
    needed = [min(max(pdf.get_string_width(cell) for cell in column) + 3.0, 70.0) for column in columns]
    if table.prose:
        needed[-1] = max(WIDTH - sum(needed[:-1]), 60.0)
    over = sum(needed) - WIDTH
    if over > 0:
        words = sum(needed[: table.texts])
        give = min(over, words - 16.0 * table.texts)
        needed[: table.texts] = [each * (1 - give / words) for each in needed[: table.texts]]
    return tuple(needed)


def _plot(pdf: Any, plot: IntervalPlot) -> None:
    step = 2.6
    height = step * len(plot.series) + 1.8
    if pdf.get_y() + min(len(plot.rows) * height + 14, 90) > pdf.h - BOTTOM:
        pdf.add_page()
    pdf.ln(1.5)
    _text(pdf, plot.caption + (" From the top:" if len(plot.series) > 1 else ""), 7.5, SOFT)
    if len(plot.series) > 1:
        _legend(pdf, plot.series)
    left, wide = MARGIN + 68, WIDTH - 74
    for name, marks in plot.rows:
        if pdf.get_y() + height > pdf.h - BOTTOM:
            pdf.add_page()
        top = pdf.get_y()
        pdf.set_font(FONT, "", 7)
        pdf.set_text_color(*INK)
        pdf.cell(66, height, _fitted(pdf, name, 65))
        pdf.set_draw_color(*HAIRLINE)
        for share in (0, 0.25, 0.5, 0.75, 1):
            pdf.line(left + wide * share, top, left + wide * share, top + height)
        for mark in marks:
            y = top + 0.9 + step * (mark.series + 0.5)
            colour = VERSION_COLOURS[mark.series % len(VERSION_COLOURS)]
            pdf.set_draw_color(*colour)
            pdf.set_fill_color(*colour)
            with pdf.local_context(line_width=0.5):
                pdf.line(left + wide * mark.low, y, left + wide * mark.high, y)
            pdf.circle(x=left + wide * mark.value, y=y, radius=0.9, style="F")
        pdf.set_xy(MARGIN, top + height)
    pdf.set_font(FONT, "", 6)
    pdf.set_text_color(*SOFT)
    for share, words in ((0, "0"), (0.25, ".25"), (0.5, ".5"), (0.75, ".75"), (1, "1")):
        pdf.set_xy(left + wide * share - 5, pdf.get_y())
        pdf.cell(10, 3.5, words, align="C")
    pdf.set_xy(MARGIN, pdf.get_y() + 5)


def _legend(pdf: Any, series: Sequence[str]) -> None:
    for place, name in enumerate(series):
        pdf.set_text_color(*VERSION_COLOURS[place % len(VERSION_COLOURS)])
        pdf.set_font(FONT, "", 7.5)
        pdf.cell(pdf.get_string_width(f"● {name}") + 5, 4, f"● {name}")
    pdf.ln(5)


def _fitted(pdf: Any, text: str, width: float) -> str:
    """The text, cut with an ellipsis where it is wider than this."""
    if pdf.get_string_width(text) <= width:
        return text
    while text and pdf.get_string_width(text + "…") > width:
        text = text[:-1]
    return text + "…"


def _texts(sections: Sequence[PageSection]) -> list[str]:
    """Every text that is drawn."""
    found: list[str] = []
    for section in sections:
        found += [section.title, *section.sentences, *section.points]
        for part in section.parts:
            if isinstance(part, PageTable):
                found += [part.caption, *part.head, *(cell for row in part.rows for cell in row)]
            else:
                found += [part.caption, *part.series, *(name for name, _ in part.rows)]
    return found
