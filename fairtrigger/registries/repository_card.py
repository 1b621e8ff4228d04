"""The model card of a repository of triggers: metadata that the hub reads, and a page that people do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

KEEP_MARK = "<!-- Written by `fairtrigger push`; remove this line, and pushes leave the page as you write it. -->"
PIPELINES = {"image": "image-classification", "text": "text-classification"}
CARD_FIGURES = {
    "accuracy": ("overall", "accuracy"),
    "demographic_parity_difference": ("gaps", "demographic_parity_difference"),
    "equalized_odds_difference": ("gaps", "equalized_odds_difference"),
}


def repository_card(records: Mapping[str, Mapping[str, Any]]) -> str:
    """The card of records by version, each as `version_card.card` makes it."""
    ordered = dict(sorted(records.items(), key=lambda item: int(item[0].removeprefix("v"))))
    first = next(iter(ordered.values()))
    model, manifest = first["model"], first["manifest"]
    rows = "\n".join(_row(name, record) for name, record in ordered.items())
    latest = next(reversed(ordered))
    return f"""---
{_metadata(model, manifest["modality"], ordered)}
---
{KEEP_MARK}

# Fairness triggers for {model}

Learned inputs that are put into every {manifest["modality"]} before the frozen model `{model}` sees it. Its weights
stay as they are. They fit this model alone: `{manifest["model_fingerprint"]}`.

Labels: {", ".join(manifest["labels"])}. The selection rate is that of `{manifest["labels"][manifest["pos_label"]]}`.
Groups: {", ".join(manifest["groups"])}.

| version | kind | trained for | standing | split | accuracy | demographic parity | equalized odds | signed |
|-|-|-|-|-|-|-|-|-|
{rows}

Differences between groups: 0 is alike. `bare -> with the trigger`, from the counts in `triggers/*.json`.

```sh
fairtrigger pull {model} {latest} --from hub:OWNER/NAME    # into your store, checked on the way
```
"""


def _metadata(model: str, modality: str, records: Mapping[str, Mapping[str, Any]]) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    pipeline = PIPELINES[modality]
    results = [
        EvalResult(
            task_type=pipeline,
            dataset_type=split,
            dataset_name=f"{split} ({report['n']} rows)",
            metric_type=figure,
            metric_name=f"{name}: {figure.replace('_', ' ')}",
            metric_value=round(report[part][key]["value"], 6),
        )
        for name, record in records.items()
        for split, report in _reports(record)
        for figure, (part, key) in CARD_FIGURES.items()
        if report[part][key]["value"] is not None
    ]
    facts: dict[str, Any] = {
        "library_name": "fairtrigger",
        "pipeline_tag": pipeline,
        "tags": ["fairness", "safetensors"],
    }
    if results:
        facts |= {"model_name": model, "eval_results": results, "metrics": list(CARD_FIGURES)}
    return str(ModelCardData(**facts).to_yaml()).strip()


def _reports(record: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The fairness reports with the trigger, by split."""
    for split, both in record["evaluation"].items():
        if "trigger" in both:
            yield split, both["trigger"]


def _row(name: str, record: Mapping[str, Any]) -> str:
    manifest, splits = record["manifest"], record["evaluation"]
    split = "test" if "test" in splits else next(iter(splits), "")
    both, objective = splits.get(split, {}), manifest["objective"]
    changes = [
        " -> ".join(_figure(both, side, *CARD_FIGURES[figure]) for side in ("bare", "trigger"))
        for figure in CARD_FIGURES
    ]
    standing = (manifest.get("selection") or {}).get("status", "not recorded")
    trained = f"{objective['criterion'].replace('_', ' ')}, strength {objective['strength']:g}"
    signed = record.get("signature_key") or "no"
    return f"| {' | '.join([name, manifest['kind'], trained, standing, split, *changes, signed])} |"


def _figure(both: Mapping[str, Any], side: str, part: str, key: str) -> str:
    value = both[side][part][key]["value"] if side in both else None
    return "-" if value is None else f"{value:.3f}"
