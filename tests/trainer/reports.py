"""Reports of runs that never happened, and of short real ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from typing import Any

from tests.trainer.outcomes import GROUPS, counts, image_config, image_outcome
from trainer.config.run_config import RunConfig
from trainer.data.dataset import Splits
from trainer.evaluation.run_result import TrainingResult
from trainer.progress import LineProgress
from trainer.publish import Published, make_artifacts
from trainer.report.cost import Stopwatch
from trainer.report.report import ReportInputs, summary, write_report
from trainer.report.run_summary import verdict
from trainer.training.trigger_training import train_triggers
from triggers.model.classifier import FrozenClassifier

VOID = {"meta", "img", "link", "br"}


def material(
    config: RunConfig,
    classifier: FrozenClassifier,
    outcome: TrainingResult,
    published: Sequence[Published] = (),
    splits: Splits | None = None,
) -> ReportInputs:
    """Everything a report needs, artifacts included."""
    groups = splits.test.group_names if splits else GROUPS
    return ReportInputs(
        config, classifier, outcome, make_artifacts(config, classifier, groups, outcome), published, splits
    )


def written(folder: Path, given: ReportInputs, said: StringIO | None = None) -> list[Path]:
    """Write a report as a run does."""
    return write_report(folder, given, Stopwatch(), LineProgress(said or StringIO()))


def short_run(config: RunConfig, classifier: FrozenClassifier, splits: Splits) -> ReportInputs:
    """A real training with everything that a report looks at."""
    outcome = train_triggers(config, classifier, splits, LineProgress(StringIO()))
    given = material(config, classifier, outcome, (), splits)
    if outcome.best is None:
        return given
    place = Published(outcome.candidates[outcome.best].strength, 1, given.artifacts[outcome.best].digest)
    return material(config, classifier, outcome, [place], splits)


def summarised(given: ReportInputs) -> dict[str, Any]:
    """The summary of a run whose trigger is not looked at closely."""
    found = summary(given)
    return found | {"verdict": verdict(found)}


def changed_summary(folder: Path, classifier: FrozenClassifier, wrong: int = 20) -> dict[str, Any]:
    """The summary of an image run that recommends strength 1, with what that changes on test: 20 men are mended."""
    outcome = image_outcome()
    bare = {"val": counts(40, wrong), "test": counts(41, wrong)}
    ones = tuple(
        replace(one, counts={"val": counts(30 - 10 * at, wrong), "test": counts(31 - 10 * at, wrong)})
        for at, one in enumerate(outcome.candidates)
    )
    found = summarised(material(image_config(folder), classifier, replace(outcome, bare=bare, candidates=ones)))
    found["paired"] = [
        *(["women", 0, answer, answer, n] for answer, n in ((0, 50 - wrong), (1, wrong))),
        *(["men", 0, answer, answer, n] for answer, n in ((0, 50 - wrong), (1, wrong))),
        ["women", 1, 1, 1, 50],
        ["men", 1, 0, 0, 21],
        ["men", 1, 0, 1, 20],
        ["men", 1, 1, 1, 9],
    ]
    found["change"] = {
        "accuracy": change(0.1, 0.05, 0.15),
        "demographic_parity": change(-0.2, -0.3, -0.1),
        "equalized_odds": change(-0.1, -0.2, -0.05),
        "group_accuracy": {"men": change(0.2, 0.1, 0.3), "women": change(0.0, 0.0, 0.0)},
    }
    return found


def change(value: float, low: float, high: float) -> dict[str, float]:
    """A change as metrics.json has it."""
    return {"value": value, "low": low, "high": high}


def compared(
    summary: dict[str, Any], system: str, setting: str, *, chosen: bool = False, **more: Any
) -> dict[str, Any]:
    """A comparison that does as well as no trigger."""
    made = {"system": system, "setting": setting, "chosen": chosen, "strength": None, "step": None, "shift": None}
    made |= {"splits": summary["bare"], "counts": summary["bare_counts"], "selection": None, "seconds": 1.0}
    return made | {"balanced_accuracy": summary["bare_balanced_accuracy"]} | more


class Page(HTMLParser):
    """A page taken apart: every tag with its attributes, the text, and whether tags close in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data

    def named(self, *names: str) -> list[dict[str, str | None]]:
        """Attributes of the tags of these names, in their order."""
        return [attributes for tag, attributes in self.tags if tag in names]
