"""Tables of the `fairtrigger` command, built from records; nothing here prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.markup import escape
from rich.table import Table

from triggers.artifact.scoring_words import decision_words, head_words
from triggers.artifact.selection_record import SelectionRecord
from triggers.rollout import RolloutPlan
from triggers.rollout.rollout_history import CHANGES, HistoryEntry, Replica, Rollout, VersionInfo, version_name
from triggers.rollout.rollout_plan import plan_text
from triggers.store.version_card import Headline, headline_figures

SERVING = "[bold green]champion[/]"
FIGURES = {
    "accuracy": ("overall", "accuracy"),
    "demographic parity difference": ("gaps", "demographic_parity_difference"),
    "equalized odds difference": ("gaps", "equalized_odds_difference"),
    "equal opportunity difference": ("gaps", "equal_opportunity_difference"),
    "accuracy difference": ("gaps", "accuracy_difference"),
}


def versions_table(models: Mapping[str, tuple[Rollout, Sequence[VersionInfo]]]) -> Table:
    """All versions of all models, for each model first without a trigger."""
    table = Table(title="Trigger versions (figures from validation counts)", title_justify="left")
    for column in (
        "model",
        "version",
        "kind",
        "objective",
        "strength",
        "accuracy",
        "DP",
        "EO",
        "selection",
        "made",
        "",
    ):
        table.add_column(column, justify="right" if column in ("strength", "accuracy", "DP", "EO") else "left")
    for model, (rollout, versions) in models.items():
        bare = headline_figures(versions[-1].manifest, trigger=False) if versions else Headline(None, None, None)
        table.add_row(model, "none", "bare", "", "", *_figures(bare), "", "", _role(rollout.plan, None))
        for info in versions:
            goal = info.objective
            figures = _figures(headline_figures(info.manifest, trigger=True))
            name, objective = version_name(info.version), f"{goal.name}, {goal.criterion}"
            word = info.selection.status if info.selection else "-"
            row = ("", name, info.kind, objective, f"{goal.strength:g}", *figures, word, info.created_at[:10])
            table.add_row(*row, _role(rollout.plan, info.version))
        table.add_section()
    return table


def facts_table(card: Mapping[str, Any]) -> Table:
    """The short facts of a card, two columns."""
    manifest = card["manifest"]
    goal, made = manifest["objective"], manifest["provenance"]
    rows = {
        "version": f"{card['model']} {version_name(card['version'])}" + ("  (champion)" if card["champion"] else ""),
        "kind": f"{manifest['kind']} ({manifest['modality']})",
        "geometry": ", ".join(f"{key} {value}" for key, value in manifest["geometry"].items()),
        "words": " ".join(manifest["words"] or ()),
        "objective": f"{goal['name']}, {goal['criterion']}, strength {goal['strength']:g}",
        "training": f"{manifest['steps']} steps, seed {manifest['seed']}, {made['duration_seconds']:.0f} s",
        "labels": ", ".join(manifest["labels"]) + f"  (selection rate: of {manifest['labels'][manifest['pos_label']]})",
        "selection": _selection_sentence(manifest),
        **_scoring_rows(manifest),
        "groups": ", ".join(manifest["groups"]) + ("  (overlapping)" if manifest.get("groups_overlap") else ""),
        "parent": "" if manifest["parent"] is None else version_name(manifest["parent"]),
        "digest": card["digest"],
        "model weights": manifest["model_fingerprint"],
        "preprocessing": manifest["preprocessing_fingerprint"],
        "made": f"{made['created_at']} by {made['created_by']}, code {made['code_version']}, on {made['device']}",
        "published": f"{card['created_at']} by {card['created_by']}, {card['bytes']} bytes",
    }
    table = Table(show_header=False, box=None)
    for name, value in rows.items():
        if value:
            table.add_row(f"[bold]{name}[/]", escape(value))
    return table


def _selection_sentence(manifest: Mapping[str, Any]) -> str:
    """The sentence of the selection; nothing for artifacts of releases that recorded none."""
    record = manifest.get("selection")
    return SelectionRecord.model_validate(record).sentence if record else ""


def _scoring_rows(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Head and decision of the model, where they are not plain softmax."""
    scoring = manifest.get("scoring") or {}
    head, threshold = scoring.get("head"), scoring.get("threshold")
    return {
        "scores": head_words(head) if head else "",
        "decision": decision_words(manifest["labels"], manifest["pos_label"], threshold) if threshold else "",
    }


def effect_table(split: str, reports: Mapping[str, Mapping[str, Any]]) -> Table:
    """One split: each figure with its 95 % interval, bare and with the trigger, then the rates of every group."""
    rows = max(report["n"] for report in reports.values())
    table = Table(title=f"{escape(split)}, {rows} rows", title_justify="left")
    for column in ("", *reports):
        table.add_column(column)
    for name, (part, key) in FIGURES.items():
        table.add_row(name, *(_estimate(report[part][key]) for report in reports.values()))
    table.add_section()
    for group in sorted({group for report in reports.values() for group in report["groups"]}):
        for rate in ("selection_rate", "true_positive_rate", "false_positive_rate"):
            cells = (_estimate(report["groups"].get(group, {}).get(rate)) for report in reports.values())
            table.add_row(f"{escape(group)}: {rate.replace('_', ' ')}", *cells)
    return table


def history_table(entries: Sequence[HistoryEntry]) -> Table:
    """History entries in the order given."""
    table = Table()
    for column in ("#", "when", "who", "action", "change", "revision", "reason"):
        table.add_column(column)
    for entry in entries:
        change = version_name(entry.to_version)
        if entry.action in CHANGES:
            beside = plan_text(entry.plan)
            change = f"{version_name(entry.from_version)} -> {change}{beside and f', {beside}'}"
        elif entry.action == "refuse" and entry.to_version is None:
            change = entry.detail.get("file", "")
        row = (str(entry.seq), entry.at[:19] + "Z", entry.actor, entry.action, change, str(entry.revision))
        table.add_row(*map(escape, row), escape(entry.reason))
    return table


def rollout_table(now: Rollout, replicas: Sequence[Replica]) -> Table:
    """The rollout of a model, and what every running service serves."""
    beside = plan_text(now.plan)
    title = f"{now.model}, revision {now.revision}: {version_name(now.champion)}{beside and f', {beside}'}"
    table = Table(title=escape(title), title_justify="left")
    for column in ("running service", "revision", "champion", "last seen", ""):
        table.add_column(column)
    for each in replicas:
        behind = "" if each.revision >= now.revision else f"behind: {each.refusal or 'on its way'}"
        row = (each.name, str(each.revision), version_name(each.champion), each.seen_at[:19] + "Z", behind)
        table.add_row(*map(escape, row))
    return table


def rollout_dict(now: Rollout, replicas: Sequence[Replica]) -> dict[str, Any]:
    """The same, JSON-ready."""
    return asdict(now) | {"plan": now.plan.to_dict(), "replicas": [asdict(each) for each in replicas]}


def _role(plan: RolloutPlan, version: int | None) -> str:
    """The roles of a version in the rollout."""
    if plan.champion == version:
        return SERVING
    challenges = plan.challenger is not None and plan.challenger.version == version
    roles = ["challenger"] * challenges + ["shadow"] * (version in plan.shadow.versions)
    return ", ".join(roles)


def _figures(figures: Headline) -> list[str]:
    values = (figures.accuracy, figures.demographic_parity, figures.equalized_odds)
    return ["-" if value is None else f"{value:.3f}" for value in values]


def _estimate(estimate: Mapping[str, Any] | None) -> str:
    """`0.123 [0.100, 0.150]`, or why there is no value."""
    if estimate is None:
        return "-"
    if estimate["value"] is None:
        return f"- ({str(estimate['reason']).replace('_', ' ')})"
    interval = "" if estimate["low"] is None else f" \\[{estimate['low']:.3f}, {estimate['high']:.3f}]"
    return f"{estimate['value']:.3f}{interval}"
