"""What the page needs of a run: every system as validation chose it, with its counts, and what the report recommends.

Counts are lists of integers, by group, label and prediction, in the order of the record's names; all figures come from
them. A system that validation allows no setting has counts of its nearest one, and `kept` false.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from trainer.config import Criterion, SelectConfig
from trainer.evaluation import SelectionCriterion
from trainer.evaluation.balanced_accuracy import mean_recall
from trainer.evaluation.counts import ConfusionCounts, accuracy
from trainer.evaluation.selection import selection_gap
from triggers.metrics import evaluate_counts

Json = Mapping[str, Any]
LEFT_OUT = ("constant", "random", "threshold_matched")
"""Controls that are no system to use: without a use, without a setting, or made for one trigger."""
NOTHING = "nothing"
SPLITS = ("val", "test")


def run_record(task: str, seed: int, kind: str, tuning: int | None, metrics: Json) -> dict[str, Any]:
    """The record of a run from its metrics.json. Raises ValueError for groups that overlap."""
    if metrics["config"]["data"].get("groups_overlap"):
        raise ValueError(f"{task}: the results have no tables for groups that overlap.")
    criterion: Criterion = metrics["config"]["objective"]["criterion"]
    groups = sorted({group for group, _, _, _ in metrics["bare_counts"]["val"]})
    table = _Table(groups, len(metrics["labels"]))
    select = {name: metrics["config"]["select"][name] for name in ("max_accuracy_drop", "measure", "min_recall_ratio")}
    rule = SelectionCriterion(
        _counts(metrics["bare_counts"]["val"]),
        criterion,
        SelectConfig(**select),
        metrics["pos_label"],
        len(metrics["labels"]),
    )
    found = {
        "task": task,
        "criterion": criterion,
        "seed": seed,
        "kind": kind,
        "tuning": tuning,
        "labels": metrics["labels"],
        "pos_label": metrics["pos_label"],
        "groups": groups,
        "select": {**select, "delta": metrics["config"]["select"]["delta"]},
        "tuning_rows": sum(n for *_, n in metrics["data_counts"]["tuning"]),
        "verdict": metrics["verdict"],
        "fingerprint": metrics["model_fingerprint"],
        "device": metrics["device"],
        "seconds": dict((metrics.get("cost") or {}).get("phases", ())),
        "bare": table.both(metrics["bare_counts"]),
    }
    systems = [_entry(kind, one, table, rule) for one in [_fairest(metrics["candidates"], rule)]]
    systems += [_entry(one["system"], one, table, rule) for one in _chosen(metrics["comparisons"], rule)]
    advice = {"recommended": _recommended(kind, metrics, table, rule), "named": _named(metrics)}
    return {**found, "systems": systems, **advice}


@dataclass(frozen=True)
class _Table:
    """The order of a record's counts."""

    groups: Sequence[str]
    labels: int

    def both(self, counts: Json) -> dict[str, list[int]]:
        return {split: self._flat(_counts(counts[split])) for split in SPLITS}

    def _flat(self, counts: ConfusionCounts) -> list[int]:
        return [counts.get(cell, 0) for cell in self.cells()]

    def cells(self) -> Iterator[tuple[str, int, int]]:
        every = range(self.labels)
        return ((group, label, answer) for group in self.groups for label in every for answer in every)


def _counts(rows: Sequence[Sequence[Any]]) -> ConfusionCounts:
    return {(group, label, answer): n for group, label, answer, n in rows}


def _fairest(ones: Sequence[Json], rule: SelectionCriterion) -> Json:
    """The setting with the smallest validation gap within the budget and above the floors, else the nearest to it."""
    return min(ones, key=lambda one: rule.rank(rule.score(_counts(one["counts"]["val"]))))


def _chosen(comparisons: Sequence[Json], rule: SelectionCriterion) -> Iterator[Json]:
    """One setting of every system: the one that validation chose, else the nearest miss."""
    for system in dict.fromkeys(one["system"] for one in comparisons):
        if system not in LEFT_OUT:
            own = [one for one in comparisons if one["system"] == system]
            yield _fairest([one for one in own if one["chosen"]] or own, rule)


def _entry(system: str, one: Json, table: _Table, rule: SelectionCriterion) -> dict[str, Any]:
    return {
        "system": system,
        "setting": one.get("setting") or f"strength {one['strength']:g}",
        "word": (one.get("selection") or {}).get("status"),
        "kept": rule.feasible(rule.score(_counts(one["counts"]["val"]))),
        "seconds": one.get("seconds"),
        **table.both(one["counts"]),
    }


def _recommended(kind: str, metrics: Json, table: _Table, rule: SelectionCriterion) -> dict[str, Any] | None:
    """What the report says to use: a rule on the model's outputs, a trigger, something cheaper, or nothing."""
    better = (metrics.get("alternatives") or {}).get("better")
    at = metrics.get("rival") if better is None else better
    if at is not None:
        one = metrics["comparisons"][at]
        return _entry(one["system"], one, table, rule)
    if metrics["best"] is None:
        return None
    return _entry(kind, next(one for one in metrics["candidates"] if one["strength"] == metrics["best"]), table, rule)


def _named(metrics: Json) -> list[str]:
    """Systems of which the report says beside its advice that they leave less: unproved, or by other weights."""
    found = metrics.get("alternatives") or {}
    return [metrics["comparisons"][at]["system"] for name in ("unproved", "retrained") for at in found.get(name, ())]


@dataclass(frozen=True, eq=False)
class Figures:
    """Figures of one system in one run, on test; `kept` false: the bare model's, since nothing kept to the budget."""

    system: str
    kept: bool
    gap: float
    accuracy: float
    balanced: float
    loss: float
    counts: ConfusionCounts


@dataclass(frozen=True, eq=False)
class RunRecord:
    """A record, with the figures that its counts give."""

    json: Json

    @property
    def problem(self) -> tuple[str, Criterion]:
        """Task and criterion."""
        return self.json["task"], self.json["criterion"]

    @property
    def seed(self) -> int:
        """Seed of split, classifier and training."""
        return int(self.json["seed"])

    @property
    def kind(self) -> str:
        """Trigger kind."""
        return str(self.json["kind"])

    @property
    def tuning(self) -> int | None:
        """Size of the tuning part where it is one of a curve's."""
        size: int | None = self.json["tuning"]
        return size

    @property
    def recommended(self) -> str:
        """System that the report recommends; NOTHING if none."""
        one = self.json["recommended"]
        return str(one["system"]) if one else NOTHING

    @property
    def certified(self) -> bool:
        """Whether what the report recommends is certified, be it a trigger or something else."""
        one = self.json["recommended"]
        return bool(one) and one["word"] == "certified"

    @property
    def named(self) -> Sequence[str]:
        """Systems that the report names beside its advice: they leave less, but unproved, or change the weights."""
        names: list[str] = self.json["named"]
        return names

    @cached_property
    def bare(self) -> Figures:
        """The bare model."""
        return self._figures({"system": "bare", "kept": False, **self.json["bare"]})

    @cached_property
    def systems(self) -> dict[str, Figures]:
        """Every system by name."""
        return {one["system"]: self._figures(one) for one in self.json["systems"]}

    @cached_property
    def advised(self) -> Figures:
        """What the report recommends; the bare model where that is nothing."""
        one = self.json["recommended"]
        return self._figures({**one, "kept": True}) if one else self.bare

    @cached_property
    def rule(self) -> SelectionCriterion:
        """The selection's rule, against the bare model on test."""
        select = {name: value for name, value in self.json["select"].items() if name != "delta"}
        labels = len(self.json["labels"])
        bare = self._counts(self.json["bare"]["test"])
        return SelectionCriterion(bare, self.json["criterion"], SelectConfig(**select), self.json["pos_label"], labels)

    @property
    def rows(self) -> tuple[int, int, int]:
        """Rows of tuning, validation and test."""
        return (self.json["tuning_rows"], *(sum(self.json["bare"][split]) for split in SPLITS))

    def label_shares(self) -> dict[str, float]:
        """Share of test rows of every label."""
        found = dict.fromkeys(self.json["labels"], 0)
        for (_, label, _), n in self._counts(self.json["bare"]["test"]).items():
            assert label is not None
            found[self.json["labels"][label]] += n
        return {label: n / self.rows[-1] for label, n in found.items()}

    def _counts(self, flat: Sequence[int]) -> ConfusionCounts:
        table = _Table(self.json["groups"], len(self.json["labels"]))
        return {cell: n for cell, n in zip(table.cells(), flat, strict=True) if n}

    def _figures(self, one: Json) -> Figures:
        counts = self._counts(one["test"] if one["kept"] else self.json["bare"]["test"])
        report = evaluate_counts(counts, pos_label=self.json["pos_label"], labels=len(self.json["labels"]))
        gap, score = selection_gap(report, self.json["criterion"])[1].value, self.rule.score(counts)
        assert gap is not None
        return Figures(one["system"], one["kept"], gap, accuracy(counts), mean_recall(counts), score.loss, counts)
