"""Pictures of triggers and of what they did, from artifacts and from the service's fairness documents.

Legible in black and white: shapes and hatches differ, not colours alone. Needs matplotlib.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from triggers.model import FrozenClassifier
from triggers.trigger import ImageTrigger, TextTrigger, preview_png

STYLE: dict[Any, Any] = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "savefig.dpi": 150}
_BARE: dict[str, Any] = {"color": "black", "marker": "s", "markerfacecolor": "white"}
TRIGGER: dict[str, Any] = {"color": "#1f6f8b", "marker": "o"}
FIGURES = {
    "accuracy": "accuracy",
    "demographic_parity_difference": "demographic parity\ndifference",
    "equalized_odds_difference": "equalized odds\ndifference",
}
Report = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Shown:
    """One image as the model sees it, float (3, S, S) in [0, 1], bare and with the trigger; its label; the answers."""

    before: Tensor
    after: Tensor
    label: str
    said_before: str
    said_after: str


def draw_overview(path: Path, reports: Mapping[str, tuple[Report, Report]]) -> None:
    """Before and after, one column per title: accuracy and gaps, and the selection rates behind them, as served.

    `reports` has the service's report of the bare model and of the trigger under each title.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(4.6 * len(reports), 5.4), layout="constrained")
        rows = figure.subplots(2, len(reports), squeeze=False, height_ratios=(1.15, 1))
        for (title, (bare, trigger)), gaps, rates in zip(reports.items(), rows[0], rows[1], strict=True):
            _draw_figures(gaps, bare, trigger)
            _draw_rates(rates, bare, trigger)
            gaps.set_title(f"{title}\n{bare['n']} predictions bare, {trigger['n']} with trigger", fontsize=9)
        handles, names = rows[0][0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=2, frameon=False)
        figure.savefig(path)


def draw_published(
    path: Path,
    overlays: Sequence[tuple[str, ImageTrigger]],
    images: Sequence[Shown],
    words: Sequence[tuple[str, Sequence[str]]],
) -> None:
    """Image triggers on mid grey, images without and with one, and text triggers by their nearest words."""
    with rc_context(STYLE):
        figure = Figure(figsize=(1.35 * max(len(images), 6), 7.2), layout="constrained")
        top, middle, bottom = cast(Sequence[SubFigure], figure.subfigures(3, 1, height_ratios=(1.7, 2.6, 1.5)))
        _draw_overlays(top, overlays)
        _draw_images(middle, images)
        _draw_words(bottom, words)
        figure.savefig(path)


def closest_words(classifier: FrozenClassifier, trigger: TextTrigger) -> list[str]:
    """For each of T trigger tokens the word whose embedding points the same way best; a hard trigger's own words."""
    if trigger.words:
        return list(trigger.words)
    similarity = normalize(trigger.embeddings, dim=1) @ normalize(classifier.embedding_matrix.detach().cpu(), dim=1).T
    special = torch.tensor(classifier.tokenizer.all_special_ids)
    found: list[str] = classifier.tokenizer.convert_ids_to_tokens(
        similarity.index_fill(1, special, -1.0).argmax(dim=1).tolist()
    )
    return found


def _draw_figures(axes: Axes, bare: Report, trigger: Report) -> None:
    """Points with their 95 % intervals, bare above trigger."""
    for report, look, name, offset in ((bare, _BARE, "bare", 0.13), (trigger, TRIGGER, "with trigger", -0.13)):
        found = [report["overall"]["accuracy"], *(report["gaps"][gap] for gap in list(FIGURES)[1:])]
        for row, figure in enumerate(found):
            if figure["value"] is None:
                continue
            low, high = figure["value"] - figure["low"], figure["high"] - figure["value"]
            label = name if row == 0 else None
            place = len(found) - 1 - row + offset
            axes.errorbar(figure["value"], place, xerr=[[low], [high]], capsize=3, ls="", label=label, **look)
            _write_beside(axes, figure, place)
    axes.set_yticks(range(len(FIGURES))[::-1], FIGURES.values())
    axes.set_ylim(-0.5, len(FIGURES) - 0.4)
    axes.set_xlim(0, 1)
    axes.set_xlabel("0 to 1, with 95 % interval")


def _write_beside(axes: Axes, figure: Report, place: float) -> None:
    """The value as text, right of its interval, or left of it where the axis ends."""
    right = figure["high"] < 0.88
    end, shift, side = (figure["high"], 6, "left") if right else (figure["low"], -6, "right")
    axes.annotate(
        f"{figure['value']:.3f}", (end, place), (shift, 0), textcoords="offset points", ha=side, va="center", fontsize=8
    )


def _draw_rates(axes: Axes, bare: Report, trigger: Report) -> None:
    """Selection rate of each group, bare beside trigger."""
    groups = [name for name in bare["groups"] if name != "unknown"]
    looks = ((bare, "white", "", -0.2), (trigger, "#9fc9d8", "///", 0.2))
    for report, colour, hatch, offset in looks:
        rates = [report["groups"][name]["selection_rate"] for name in groups]
        values = [rate["value"] or 0.0 for rate in rates]
        errors = [[v - (r["low"] or 0.0) for v, r in zip(values, rates, strict=True)],
                  [(r["high"] or 0.0) - v for v, r in zip(values, rates, strict=True)]]  # fmt: skip
        places = [at + offset for at in range(len(groups))]
        axes.bar(places, values, 0.38, yerr=errors, capsize=3, color=colour, edgecolor="black", hatch=hatch)
    axes.set_xticks(range(len(groups)), [f"group: {name}" for name in groups])
    axes.set_ylim(0, 1)
    axes.set_ylabel("selection rate (0 to 1)")


def _draw_overlays(figure: SubFigure, overlays: Sequence[tuple[str, ImageTrigger]]) -> None:
    figure.suptitle("image triggers on mid grey; an overlay's contrast is stretched", fontsize=9)
    for panel, (name, trigger) in zip(figure.subplots(1, len(overlays), squeeze=False)[0], overlays, strict=True):
        panel.imshow(Image.open(io.BytesIO(preview_png(trigger))).convert("RGB"))
        panel.set_title(name, fontsize=8)
        panel.set_axis_off()


def _draw_images(figure: SubFigure, images: Sequence[Shown]) -> None:
    figure.suptitle(
        "what the model sees and says: without a trigger (above), with it (below; bold where the answer changes)",
        fontsize=9,
    )
    panels = figure.subplots(2, len(images), squeeze=False)
    for shown, above, below in zip(images, *panels, strict=True):
        flipped = shown.said_before != shown.said_after
        for panel, pixels, said, weight in (
            (above, shown.before, f"is {shown.label}\nmodel: {shown.said_before}", "normal"),
            (below, shown.after, f"model: {shown.said_after}", "bold" if flipped else "normal"),
        ):
            panel.imshow(pixels.permute(1, 2, 0).numpy(), vmin=0, vmax=1)
            panel.set_title(said, fontsize=8, fontweight=weight)
            panel.set_axis_off()


def _draw_words(figure: SubFigure, words: Sequence[tuple[str, Sequence[str]]]) -> None:
    figure.suptitle("text triggers: the word nearest to each trigger token, inserted after [CLS]", fontsize=9)
    axes = figure.subplots()
    axes.set_axis_off()
    for row, (name, found) in enumerate(words):
        height = 1 - (row + 0.5) / len(words)
        axes.text(0.0, height, name, va="center", transform=axes.transAxes)
        axes.text(0.32, height, "  ".join(f"[{word}]" for word in found), va="center", family="monospace",
                  fontsize=8, transform=axes.transAxes)  # fmt: skip
