"""The demo's two pictures: the triggers, and what they did according to the service."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from fairtrigger.demo.live_service import Row
from fairtrigger.demo.pictures import Shown, closest_words, draw_overview, draw_published
from fairtrigger.demo.preparation import STORE, Prepared
from triggers.model import FrozenClassifier, Trigger, load_bundle, sweep
from triggers.store import open_store
from triggers.trigger import ImageBank, ImageTrigger, TextTrigger

SHOWN_IMAGES, SPREAD = 8, 7


def draw_all(out: Path, models: Sequence[Prepared], images: Sequence[Row], served: Mapping[str, Any]) -> list[Path]:
    """Write triggers.png and before_after.png. `served` has the service's fairness document of each model."""
    overview, picture = out / "before_after.png", out / "triggers.png"
    draw_overview(overview, {model.name: _reports(model, served[model.name]) for model in models})
    overlays, words, shown = list[tuple[str, ImageTrigger]](), list[tuple[str, list[str]]](), list[Shown]()
    for model in models:
        classifier = load_bundle(model.bundle)
        for version, name, trigger in _triggers(out, model):
            if isinstance(trigger, TextTrigger):
                words.append((name, closest_words(classifier, trigger)))
                continue
            overlays.append((name, trigger))
            if version == model.recommended:
                shown = _shown(classifier, trigger, images)
    draw_published(picture, overlays, shown, words)
    return [picture, overview]


def _triggers(out: Path, model: Prepared) -> Iterator[tuple[str, str, Trigger]]:
    """Every published version: its number, a name for the picture, the trigger."""
    with open_store(out / STORE, create=False) as store:
        for version in model.versions:
            artifact = store.get(model.name, int(version.removeprefix("v")))
            served = "\n(served)" if version == model.recommended else ""
            strength = artifact.manifest.objective.strength
            yield version, f"{model.name} {version}, strength {strength:g}{served}", artifact.trigger


def _reports(model: Prepared, document: Mapping[str, Any]) -> tuple[Any, Any]:
    return document["versions"]["bare"], document["versions"][model.recommended]


def _shown(classifier: FrozenClassifier, trigger: ImageTrigger, rows: Sequence[Row]) -> list[Shown]:
    """Some inputs as the model sees them, through the code that serves them."""
    chosen = _varied(rows)
    inputs = classifier.batch([classifier.preprocess(row.content) for row in chosen])
    assert isinstance(inputs, torch.Tensor)
    bank = ImageBank.of([ImageTrigger.none(*trigger.keep.shape), trigger])
    said = classifier.decision.labels(sweep(classifier, inputs, bank))  # (2, N)
    pictures = bank.apply_all(inputs).view(2, len(chosen), *trigger.keep.shape)
    labels = classifier.labels
    return [
        Shown(pictures[0, at], pictures[1, at], row.label, labels[said[0, at]], labels[said[1, at]])
        for at, row in enumerate(chosen)
    ]


def _varied(rows: Sequence[Row]) -> list[Row]:
    """SHOWN_IMAGES rows, as many of each (label, group) as can be, spread over the data: neighbours show one digit."""
    cells: dict[tuple[str, str], list[Row]] = {}
    for row in rows[::SPREAD]:
        cells.setdefault((row.label, row.group), []).append(row)
    turns = zip(*(cells[cell] for cell in sorted(cells)), strict=False)
    return [row for turn in turns for row in turn][:SHOWN_IMAGES]
