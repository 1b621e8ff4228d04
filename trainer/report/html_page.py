"""The report as one HTML file without scripts or links to other files: a summary and pictures, through one template.

Needs jinja2. Everything is escaped; pictures are inside as data: URIs.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from trainer import formatting
from trainer.config.toml_schema import to_toml
from trainer.diagnostics import Explained, TextSaliency
from trainer.formatting import Json
from trainer.report import report_tables
from trainer.report.model_card import ETHICS, LIMITATIONS
from trainer.report.run_cautions import cautions
from trainer.report.run_summary import (
    STATUS_WORDS,
    headline_sentence,
    origin_sentence,
    scoring_sentence,
    verdict,
)
from trainer.report.selection_tables import nearest_rivals, selection_rules, selection_tests


@dataclass(frozen=True)
class Token:
    """One token of an explained text: shade from 0 to 1, sign, and whether the trigger put it there."""

    word: str
    value: float
    is_trigger: bool

    @property
    def shade(self) -> float:
        """Strength of the attribution, 0 to 1."""
        return min(1.0, abs(self.value))


@dataclass(frozen=True)
class Picture:
    """A PNG as a data: URI, and its size on the page in CSS pixels (1/96 inch)."""

    uri: str
    width: int
    height: int

    @classmethod
    def read(cls, path: Path) -> Picture:
        """Read a file as matplotlib writes it."""
        with Image.open(path) as image:
            scale = 96 / float(image.info["dpi"][0])
            size = [round(side * scale) for side in image.size]
        return cls("data:image/png;base64," + base64.b64encode(path.read_bytes()).decode(), *size)


@dataclass(frozen=True)
class PageExtras:
    """Page contents that are not in metrics.json: pictures by file name, tokens per example (bare, trigger), nearest
    words with their cosines, the side of the square that image attributions were averaged over.
    """

    pictures: Mapping[str, Path]
    tokens: Sequence[tuple[Sequence[Token], Sequence[Token]]] = ()
    nearest: Sequence[tuple[str, float]] = ()
    smoothing: int = 1


def render_page(summary: Json, extras: PageExtras) -> str:
    """Render the whole page."""
    environment = Environment(
        loader=PackageLoader("trainer.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["together"] = _together
    environment.filters |= {
        "number": formatting.format_number,
        "signed": formatting.format_change,
        "whole": formatting.format_count,
        "seconds": formatting.format_seconds,
        "interval": formatting.format_interval,
    }
    return environment.get_template("report.html").render(
        s=summary,
        one=formatting.shown_candidate(summary),
        verdict=verdict(summary),
        scoring=" ".join(filter(None, [scoring_sentence(summary), origin_sentence(summary)])),
        headline=headline_sentence(summary),
        cautions=cautions(summary),
        rules=selection_rules(summary),
        status_words=STATUS_WORDS,
        limits=LIMITATIONS,
        ethics=ETHICS,
        tables=_tables(summary),
        worst={
            "without": report_tables.worst_cell(summary, summary["bare_counts"]["test"]),
            "with": report_tables.worst_cell(summary, formatting.shown_candidate(summary)["counts"]["test"]),
        },
        gap=formatting.objective_gap(summary["bare"]["test"], summary["config"]["objective"]["criterion"]),
        inputs=formatting.inputs_word(summary),
        images={name: Picture.read(path) for name, path in extras.pictures.items()},
        extras=extras,
        toml=to_toml(summary["config"]),
        style=_style(environment),
    )


def tokens_of(explained: Explained | None) -> list[tuple[list[Token], list[Token]]]:
    """The tokens of explained texts, without and with the trigger; nothing for images."""
    if not isinstance(explained, tuple):
        return []
    return [(_tokens(pair.bare), _tokens(pair.trigger)) for pair in explained]


def _tokens(text: TextSaliency) -> list[Token]:
    return [Token(*token) for token in zip(text.tokens, text.attribution, text.is_trigger, strict=True)]


def _tables(summary: Json) -> dict[str, report_tables.ReportTable]:
    """Every table that this summary has figures for, by name."""
    tables = {
        "key": report_tables.key_figures(summary),
        "systems": report_tables.comparisons(summary),
        "tests": selection_tests(summary),
        "rivals": nearest_rivals(summary),
        "rates": report_tables.rates_table(summary),
        "confusion": report_tables.confusion(summary),
        "data": report_tables.data_table(summary),
    }
    if "flips" in summary:
        tables |= {"flips": report_tables.flip_rates(summary), "paired": report_tables.paired_table(summary)}
    if "readout" in summary:
        tables |= {"shift": report_tables.posterior_shift(summary), "leak": report_tables.leak(summary)}
        tables |= {"null": report_tables.null_reading(summary)} if summary["readout"]["null"] else {}
    return tables


def _style(environment: Environment) -> Any:
    """The style sheet, unescaped."""
    source, _, _ = PackageLoader("trainer.report").get_source(environment, "report.css")
    return source


def _together(text: str) -> str:
    """A figure and its interval, `.31 [.25, .38]`, on one line."""
    return re.sub(r"\S+ \[[^\]]*\]", lambda found: found[0].replace(" ", "\N{NO-BREAK SPACE}"), text)
