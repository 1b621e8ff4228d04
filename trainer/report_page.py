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

from trainer import tabulate, wording
from trainer.explanation import Explained
from trainer.model_card import ETHICS, LIMITS
from trainer.saliency import TextSaliency
from trainer.tables import to_toml
from trainer.verdict import cautions, headline, verdict
from trainer.wording import Json


@dataclass(frozen=True)
class Token:
    """One token of an explained text: shade from 0 to 1, sign, and whether the trigger put it there."""

    word: str
    value: float
    is_trigger: bool

    @property
    def shade(self) -> float:
        """How strongly it speaks, 0 to 1."""
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
class Extras:
    """What is on the page but not in metrics.json: pictures by file name, tokens per example (bare, trigger), nearest
    words with their cosines, the side of the square that image attributions were averaged over.
    """

    pictures: Mapping[str, Path]
    tokens: Sequence[tuple[Sequence[Token], Sequence[Token]]] = ()
    nearest: Sequence[tuple[str, float]] = ()
    smoothing: int = 1


def render_page(summary: Json, extras: Extras) -> str:
    """The whole page."""
    environment = Environment(
        loader=PackageLoader("trainer"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["together"] = _together
    environment.filters |= {
        name: getattr(wording, name) for name in ("number", "signed", "whole", "seconds", "interval")
    }
    return environment.get_template("report.html").render(
        s=summary,
        one=wording.shown_candidate(summary),
        verdict=verdict(summary),
        headline=headline(summary),
        cautions=cautions(summary),
        limits=LIMITS,
        ethics=ETHICS,
        tables=_tables(summary),
        worst={
            "without": tabulate.worst_cell(summary, summary["bare_counts"]["test"]),
            "with": tabulate.worst_cell(summary, wording.shown_candidate(summary)["counts"]["test"]),
        },
        gap=wording.judged_gap(summary["bare"]["test"], summary["config"]["objective"]["criterion"]),
        inputs=wording.inputs_word(summary),
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


def _tables(summary: Json) -> dict[str, tabulate.Table]:
    """Every table that this summary has figures for, by name."""
    tables = {
        "key": tabulate.key_figures(summary),
        "systems": tabulate.comparisons(summary),
        "rates": tabulate.group_rates(summary),
        "confusion": tabulate.confusion(summary),
        "data": tabulate.data_table(summary),
    }
    if "flips" in summary:
        tables |= {"flips": tabulate.flip_rates(summary), "paired": tabulate.paired_table(summary)}
    if "readout" in summary:
        tables |= {"shift": tabulate.posterior_shift(summary), "leak": tabulate.leak(summary)}
        tables |= {"null": tabulate.null_reading(summary)} if summary["readout"]["null"] else {}
    return tables


def _style(environment: Environment) -> Any:
    """The style sheet, as it is."""
    source, _, _ = PackageLoader("trainer").get_source(environment, "report.css")
    return source


def _together(text: str) -> str:
    """A figure and its interval, `.31 [.25, .38]`, on one line."""
    return re.sub(r"\S+ \[[^\]]*\]", lambda found: found[0].replace(" ", "\N{NO-BREAK SPACE}"), text)
