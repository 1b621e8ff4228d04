"""Loading: a frozen model with one trigger, or none, to ask within a program."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fairtrigger.model_inputs import ImageInput, check_many, image_as_file, plain_text
from triggers.artifact.signature import TRUST_ANYONE, Trust
from triggers.errors import ConfigError
from triggers.rollout.rollout_history import version_name

if TYPE_CHECKING:
    from torch import Tensor

    from triggers.artifact.artifact import TriggerArtifact
    from triggers.model import FrozenClassifier, Item

ROWS_AT_ONCE = 32
_VERSION = re.compile(r"v?[1-9][0-9]{0,8}")


@dataclass(frozen=True)
class ScoredInput:
    """The answer to one input: its label, the score of every label, and whether the text was cut to the limit."""

    label: str
    scores: dict[str, float]
    truncated: bool = False


@dataclass(frozen=True, eq=False)
class TriggeredModel:
    """A frozen model under one trigger. `version` is `v3`, `none` (no trigger) or the file's path; not thread-safe."""

    classifier: FrozenClassifier
    artifact: TriggerArtifact | None
    version: str

    @property
    def labels(self) -> tuple[str, ...]:
        """Label names, in the order of scores."""
        return self.classifier.labels

    @property
    def digest(self) -> str | None:
        """The trigger's digest; None without a trigger."""
        return self.artifact.digest if self.artifact else None

    def predict(self, inputs: Sequence[ImageInput] | Sequence[str]) -> list[ScoredInput]:
        """The answers to images or texts, in order, by the forward pass and the rule that serve.

        Raises InputError for what cannot be used, ConfigError for what is no list.
        """
        check_many(inputs)
        images = self.classifier.spec.image is not None
        items = [self.classifier.preprocess(image_as_file(one) if images else plain_text(one)) for one in inputs]
        found: list[ScoredInput] = []
        for start in range(0, len(items), ROWS_AT_ONCE):
            some = items[start : start + ROWS_AT_ONCE]
            for item, row in zip(some, self._scores(some).tolist(), strict=True):
                label = self.labels[self.classifier.decision.label_of_scores(row)]
                found.append(
                    ScoredInput(label, dict(zip(self.labels, row, strict=True)), getattr(item, "truncated", False))
                )
        return found

    def _scores(self, items: Sequence[Item]) -> Tensor:
        import torch

        from trainer.evaluation.counts import evaluation_classifier
        from triggers.model import scores, sweep

        classifier = evaluation_classifier(self.classifier)
        trigger = self.artifact.trigger if self.artifact else classifier.null_trigger()
        with torch.inference_mode():
            return scores(sweep(classifier, classifier.batch(items), classifier.bank([trigger]))[0])


def load(
    bundle: str | Path,
    *,
    trigger: str | Path | None = None,
    store: str | Path | None = None,
    device: str = "cpu",
    trust: Trust = TRUST_ANYONE,
) -> TriggeredModel:
    """The frozen model of a bundle under a trigger.

    `trigger` is a version of the store (`v3`), `champion` (whom its rollout names now), the file of an artifact, or
    `none`. `store` is a folder or URL, by default FAIRTRIGGER_STORE or ./fairtrigger-store. Only signatures that
    `trust` accepts are. Raises ConfigError, ModelError, NotFound, or ArtifactMismatch for a trigger of another model.
    """
    from triggers.artifact.artifact import check_compatible
    from triggers.model import load_bundle

    classifier = load_bundle(bundle, device)
    artifact, version = _artifact(classifier.name, trigger, store, trust)
    if artifact:
        check_compatible(artifact, classifier)
    return TriggeredModel(classifier, artifact, version)


def _artifact(
    model: str, trigger: str | Path | None, store: str | Path | None, trust: Trust
) -> tuple[TriggerArtifact | None, str]:
    from triggers.artifact.artifact import load_artifact
    from triggers.store import open_store

    if trigger is None or trigger == "none":
        return None, "none"
    chosen = str(trigger)
    if chosen != "champion" and not _VERSION.fullmatch(chosen):
        if not Path(trigger).is_file():
            raise ConfigError(f"trigger {chosen!r} is no file: give one, a version as v3, champion, or none.")
        artifact = load_artifact(Path(trigger))
        trust.check(artifact.digest, artifact.signature)
        return artifact, chosen
    with open_store(store or os.environ.get("FAIRTRIGGER_STORE", "fairtrigger-store"), create=False, trust=trust) as at:
        number = at.rollout(model).champion if chosen == "champion" else int(chosen.removeprefix("v"))
        return (None if number is None else at.get(model, number)), version_name(number)
