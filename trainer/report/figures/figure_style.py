"""The style of all figures: black on white, marks told apart by shape and line before colour."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

MATPLOTLIB_STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 9,
    "date.converter": "concise",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "savefig.dpi": 160,
    "svg.hashsalt": "fairtrigger",
}
BLACK, BLUE, ORANGE, GREY = "#111111", "#1f5fa8", "#b4530a", "#6b6b6b"
"""Blue is the triggers', orange the baselines', grey the controls'; in greyscale they differ in lightness as well."""

LOOKS: tuple[dict[str, Any], ...] = tuple(
    {"marker": marker, "color": colour, "markerfacecolor": face, "markersize": 5}
    for marker, colour, face in (
        ("s", BLACK, "white"),
        ("o", BLUE, BLUE),
        ("^", ORANGE, "white"),
        ("D", GREY, GREY),
        ("v", BLUE, "white"),
        ("P", ORANGE, ORANGE),
    )
)
"""Marks of systems side by side, in this order: first the one without a trigger."""


class NotebookFigure(Figure):
    """A figure that a notebook shows, also one that never imports pyplot."""

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, dpi=100)
        return file.getvalue()


def save(figure: Figure, path: Path) -> Path:
    """Write a PNG whose bytes depend on the picture alone."""
    figure.savefig(path, metadata={"Software": ""})
    return path
