"""A model card for the Hugging Face hub: metadata with every result (`model-index`), and the audit in Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from fairtrigger.auditing.audited_counts import WITHOUT_TRIGGER
from fairtrigger.auditing.documents.audit_sections import page_sections, page_title
from fairtrigger.auditing.documents.page_parts import PageTable
from trainer.formatting import Json

CARD_TABLES = 60
"""Most rows of a table in the card; the page and the CSV have all."""


def hub_card(document: Json) -> str:
    """The card as text: YAML between dashes, then Markdown."""
    from huggingface_hub import ModelCardData

    data = ModelCardData(
        model_name=document["model"]["name"] or "model",
        eval_results=list(_results(document)),
        library_name="fairtrigger",
        tags=["fairness", "fairtrigger", "audit"],
    )
    return f"---\n{data.to_yaml()}\n---\n\n{_body(document)}"


def _results(document: Json) -> Iterator[Any]:
    """One result for each version, group and figure that is defined."""
    from huggingface_hub import EvalResult

    source = document["source"]
    name = source.get("name") or source.get("url") or "data frame"
    kind = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "data"
    for version, figures in document["figures"].items():
        said = "no trigger" if version == WITHOUT_TRIGGER else version
        estimates = {("", rate): figures["overall"][rate] for rate in _RATES}
        estimates |= {("", gap): facts for gap, facts in figures["gaps"].items()}
        estimates |= {(group, rate): rates[rate] for group, rates in figures["groups"].items() for rate in _RATES}
        for (group, figure), estimate in estimates.items():
            if estimate["value"] is None:
                continue
            yield EvalResult(
                task_type="other",
                task_name="classification",
                dataset_type=kind,
                dataset_name=name,
                dataset_config=version,
                dataset_args={"sha256": source["sha256"]} if "sha256" in source else None,
                metric_type=figure,
                metric_name=f"{figure.replace('_', ' ')}, {group or 'all rows'}, {said}",
                metric_value=estimate["value"],
                metric_args={key: estimate[key] for key in ("low", "high", "n")} | ({"group": group} if group else {}),
            )


_RATES = ("selection_rate", "accuracy", "true_positive_rate", "false_positive_rate")


def _body(document: Json) -> str:
    parts = [f"# {page_title(document)}", "Intended use, training data and licence are for the model's owner to state."]
    for section in page_sections(document):
        if section.anchor == "counts":
            continue
        parts += [f"## {section.title}", *map(_escaped, section.sentences)]
        if section.points:
            parts.append("\n".join(f"- {_escaped(point)}" for point in section.points))
        parts += [_markdown(part) for part in section.parts if isinstance(part, PageTable)]
    return "\n\n".join(parts) + "\n"


def _markdown(table: PageTable) -> str:
    lines = [_row(table.head), _row(["---"] * len(table.head), escape=False), *map(_row, table.rows[:CARD_TABLES])]
    left = len(table.rows) - CARD_TABLES
    tail = f"\n\n{left} more rows are in audit.html." if left > 0 else ""
    return (f"{_escaped(table.caption)}\n\n" if table.caption else "") + "\n".join(lines) + tail


def _row(cells: Any, *, escape: bool = True) -> str:
    return "| " + " | ".join(_escaped(cell) if escape else cell for cell in cells) + " |"


def _escaped(text: str) -> str:
    """Names are data: nothing in them is Markdown or HTML."""
    return re.sub(r"([\\`*_|<>\[\]#])", r"\\\1", text.replace("\n", " "))
