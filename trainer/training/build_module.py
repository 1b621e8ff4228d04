"""Construction of the K triggers to train from the configuration: kind, size, allowed words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from trainer.config import RunConfig
from trainer.config.run_config import TriggerConfig
from triggers.errors import ConfigError
from triggers.model import FrozenClassifier
from triggers.storage.regular_file import read_regular
from triggers.trigger.image_trainable import ImageModule, build_image_module
from triggers.trigger.text_trainable import TextModule, build_text_module, whole_words


def build_module(config: RunConfig, classifier: FrozenClassifier) -> ImageModule | TextModule:
    """One trainable trigger per strength, all from the same start. Raises ConfigError."""
    if config.modality != classifier.modality:
        wrong = f"A {config.trigger.kind} trigger works on {config.modality}s"
        raise ConfigError(f"{wrong}, {classifier.name!r} reads {classifier.modality}s; change trigger.kind.")
    count, seed = len(config.objective.strengths), config.train.seed
    if image := classifier.spec.image:
        sizes = {"channels": image.channels, "size": image.height, **config.trigger.geometry()}
        return build_image_module(config.trigger.kind, count=count, seed=seed, **sizes)
    vocabulary = classifier.tokenizer.convert_ids_to_tokens(range(len(classifier.embedding_matrix)))
    return build_text_module(
        config.trigger.kind,
        count=count,
        tokens=config.trigger.tokens,
        position=config.trigger.position,
        matrix=classifier.embedding_matrix,
        vocabulary=vocabulary,
        allowed=allowed_words(config.trigger, vocabulary, classifier.tokenizer.all_special_ids),
        seed=seed,
    )


def allowed_words(trigger: TriggerConfig, vocabulary: Sequence[str], special_ids: Sequence[int]) -> Tensor:
    """Mask of the V words that a trigger may be made of: bool (V,). Special tokens never are."""
    if trigger.allowed_words_file:
        return _listed(trigger.allowed_words_file, vocabulary)
    if trigger.allowed_words == "whole":
        return whole_words(vocabulary, special_ids)
    allowed = torch.ones(len(vocabulary), dtype=torch.bool)
    allowed[list(special_ids)] = False
    return allowed


def _listed(path: Path, vocabulary: Sequence[str]) -> Tensor:
    try:
        wanted = set(read_regular(path).decode().split())
    except OSError as error:
        raise ConfigError(f"trigger.allowed_words_file {path} cannot be read: {error.strerror}.") from error
    if missing := sorted(wanted - set(vocabulary)):
        shown = ", ".join(missing[:5])
        raise ConfigError(f"{path}: {len(missing)} words are no tokens of the model, such as {shown}. Remove them.")
    return torch.tensor([word in wanted for word in vocabulary])
