"""Points of the technical documentation in Annex IV of the EU AI Act (2024/1689): what an audit fills, what is open."""

from __future__ import annotations

from dataclasses import dataclass

from fairtrigger.auditing.audited_counts import shown_group
from trainer.formatting import Json, format_count, format_interval, join_words


@dataclass(frozen=True)
class AnnexPoint:
    """One point: its number, what it asks for in short words, and what this audit says to it; None is open."""

    point: str
    asks: str
    filled: str | None


ASKED = {
    "1(a)": "intended purpose, provider, version and its relation to earlier ones",
    "1(b)": "interaction with hardware and software that is not part of the system",
    "1(c)": "versions of software and firmware, requirements for updates",
    "1(d)": "forms in which the system is placed on the market",
    "1(e)": "hardware on which it is meant to run",
    "1(f)": "where it is part of a product: pictures and internal layout",
    "1(g)": "user interface for the deployer",
    "1(h)": "instructions for use",
    "2(a)": "methods and steps of development, pre-trained systems used",
    "2(b)": "design: logic, key choices and assumptions, what is optimised, trade-offs",
    "2(c)": "architecture, computational resources",
    "2(d)": "data: provenance, scope, selection, labelling, cleaning",
    "2(e)": "human oversight measures",
    "2(f)": "changes that were determined beforehand",
    "2(g)": "validation and testing: data, metrics of accuracy, robustness and discriminatory impact, logs, reports",
    "2(h)": "cybersecurity measures",
    "3": "monitoring and control: capabilities, limits, accuracy for specific groups and overall, foreseeable risks",
    "4": "why the performance metrics are appropriate",
    "5": "risk management system (Article 9)",
    "6": "changes over the lifecycle",
    "7": "harmonised standards applied",
    "8": "EU declaration of conformity",
    "9": "monitoring after placing on the market (Article 72)",
}


def annex_points(document: Json) -> list[AnnexPoint]:
    """All points in order; those that these figures can fill hold a sentence, for a person to check and complete."""
    made = document["software"]
    filled = {
        "1(a)": f"Version only: {_versions(document)}.",
        "1(c)": f"Audited with {made['name']} {made['version']}; all other software is open.",
        "2(g)": _testing(document),
        "3": _performance(document),
        "4": (
            "Measured here: selection rate, accuracy, true and false positive rates by group, their differences with "
            "intervals. Why these and no others are right for the purpose is open."
        ),
    }
    if document["source"]["kind"] == "live":
        window = document["source"]["window"]
        filled["9"] = f"Live counts of the window {window['name']} until {window['until']}. The plan itself is open."
    return [AnnexPoint(point, asks, filled.get(point)) for point, asks in ASKED.items()]


def _versions(document: Json) -> str:
    model = document["model"]
    named = [f"{name} ({found['digest'] or 'no trigger'})" for name, found in document["versions"].items()]
    return f"model {model['name'] or 'not named'}, {model['digest'] or 'digest not stated'}; {join_words(named)}"


def _testing(document: Json) -> str:
    rows = [f"{name}: {format_count(found['n'])} rows" for name, found in document["figures"].items()]
    labelled = [f"{format_count(found['labelled'])} with a true label" for found in document["figures"].values()]
    listed = join_words(f"{a}, {b}" for a, b in zip(rows, labelled, strict=True))
    groups = join_words(document["terms"]["attributes"])
    return (
        f"{listed}; groups by {groups}; figures with intervals and all counts in this document, dated "
        f"{document['created_at'][:10]}. How the rows were chosen, and robustness, are open."
    )


def _performance(document: Json) -> str:
    attributes = document["terms"]["attributes"]
    said = [
        f"{name}: accuracy {format_interval(found['overall']['accuracy'])} overall"
        + "".join(
            f"; {shown_group(attributes, group)} {format_interval(rates['accuracy'])}"
            for group, rates in found["groups"].items()
        )
        for name, found in document["figures"].items()
        if found["labelled"]
    ]
    if not said:
        return "Selection rates by group only, as no row has a true label; accuracy and risks are open."
    return ". ".join(said) + ". Unintended outcomes and sources of risk are open."
