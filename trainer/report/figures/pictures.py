"""All pictures of a run, drawn into its folder. Needs matplotlib."""

from __future__ import annotations

from pathlib import Path

from trainer.diagnostics import Explained, ExplainedImages
from trainer.evaluation import TrainingResult
from trainer.formatting import Json
from trainer.report.figures.examples import draw_examples
from trainer.report.figures.groups import draw_groups
from trainer.report.figures.pareto import draw_front
from trainer.report.figures.queries import draw_curves
from trainer.report.figures.triggers import draw_trigger, draw_triggers
from triggers.trigger import ImageTrigger


def draw_pictures(folder: Path, summary: Json, result: TrainingResult, explained: Explained | None) -> dict[str, Path]:
    """front.png and groups.png, for images also triggers.png, trigger.png and examples.png, for a model that was asked
    queries.png. By name without ending.
    """
    made = [draw_front(folder / "front.png", summary), draw_groups(folder / "groups.png", summary)]
    if summary.get("queries"):
        made.append(draw_curves(folder / "queries.png", {"": summary["queries"]}))
    pictures = [(one.strength, one.trigger) for one in result.candidates if isinstance(one.trigger, ImageTrigger)]
    if pictures:
        made.append(draw_triggers(folder / "triggers.png", [(f"strength {s:g}", trigger) for s, trigger in pictures]))
        made += [draw_trigger(folder / "trigger.png", trigger) for s, trigger in pictures if s == summary["shown"]]
    if isinstance(explained, ExplainedImages):
        made.append(draw_examples(folder / "examples.png", summary, explained))
    return {path.stem: path for path in made}
