"""Names and values of the figures that trackers get, from fairness reports as JSON values and from metrics.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def report_figures(report: Mapping[str, Any], place: str, of: str) -> dict[str, float]:
    """Accuracy and every defined gap of a fairness report: `place/accuracy/of`."""
    figures = {"accuracy": report["overall"]["accuracy"], **report["gaps"]}
    return {f"{place}/{name}/{of}": one["value"] for name, one in figures.items() if one["value"] is not None}


def strength_name(strength: float) -> str:
    """The last part of a figure's name."""
    return f"strength-{strength:g}"


def final_figures(summary: Mapping[str, Any]) -> dict[str, float]:
    """The figures of the chosen triggers and of the bare model, on validation and test."""
    found: dict[str, float] = {}
    systems = {
        "bare": summary["bare"],
        **{strength_name(one["strength"]): one["splits"] for one in _candidates(summary)},
    }
    for name, splits in systems.items():
        for split, report in splits.items():
            found |= report_figures(report, f"final/{split}", name)
    return found


def final_facts(summary: Mapping[str, Any]) -> dict[str, str]:
    """What the run found, and which model, software and triggers it is about."""
    facts = {
        "model": summary["model"],
        "model_fingerprint": summary["model_fingerprint"],
        "code_version": summary["provenance"]["code_version"],
        "verdict": summary["verdict"]["reason"],
        "recommended": "none" if summary["best"] is None else strength_name(summary["best"]),
    }
    for one in _candidates(summary):
        name = strength_name(one["strength"])
        facts |= {f"{name}.status": one["selection"]["status"], f"{name}.digest": one["digest"]}
        if one["published"]:
            facts[f"{name}.version"] = f"v{one['published']['version']}"
    return facts


def _candidates(summary: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = summary["candidates"]
    return found
