"""Construction of the K triggers to train from the configuration: kind, size, allowed words."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from trainer.config import RunConfig
from trainer.config.run_config import TriggerConfig
from triggers.errors import ConfigError, ModelError
from triggers.model import FrozenClassifier
from triggers.model.text.vocabulary import Vocabulary
from triggers.storage.regular_file import read_regular
from triggers.trigger.image_trainable import ImageModule, build_image_module
from triggers.trigger.text_trainable import TextModule, build_text_module


def build_module(config: RunConfig, classifier: FrozenClassifier) -> ImageModule | TextModule:
    """One trainable trigger per strength, all from the same start. Raises ConfigError."""
    if config.modality != classifier.modality:
        wrong = f"A {config.trigger.kind} trigger works on {config.modality}s"
        raise ConfigError(f"{wrong}, {classifier.name!r} reads {classifier.modality}s; change trigger.kind.")
    count, seed = len(config.objective.fixed_strengths), config.train.seed
    if image := classifier.spec.image:
        sizes = {"channels": image.channels, "size": (image.height, image.width), **config.trigger.geometry()}
        return build_image_module(config.trigger.kind, count=count, seed=seed, **sizes)
    try:
        classifier.check_position(config.trigger.position)
        classifier.check_length(config.trigger.tokens)
    except ModelError as error:
        raise ConfigError(str(error)) from error
    matrix = classifier.embedding_matrix.float()  # triggers are learned in float32 whatever the checkpoint
    vocabulary = Vocabulary.of(classifier.tokenizer, len(matrix))
    return build_text_module(
        config.trigger.kind,
        count=count,
        tokens=config.trigger.tokens,
        position=config.trigger.position,
        matrix=matrix,
        vocabulary=vocabulary.words,
        allowed=allowed_words(config.trigger, vocabulary),
        seed=seed,
    )


def allowed_words(trigger: TriggerConfig, vocabulary: Vocabulary) -> Tensor:
    """Mask of the V words that a trigger may be made of: bool (V,). Special tokens are only if they are listed."""
    if trigger.allowed_words_file:
        return _listed(trigger.allowed_words_file, vocabulary)
    return vocabulary.whole if trigger.allowed_words == "whole" else ~vocabulary.special


def _listed(path: Path, vocabulary: Vocabulary) -> Tensor:
    try:
        wanted = set(read_regular(path).decode().split())
    except OSError as error:
        raise ConfigError(f"trigger.allowed_words_file {path} cannot be read: {error.strerror}.") from error
    listed = torch.tensor([word in wanted for word in vocabulary.words]) & vocabulary.listable
    if missing := sorted(wanted - {vocabulary.words[number] for number in listed.nonzero().flatten().tolist()}):
        shown = ", ".join(missing[:5])
        raise ConfigError(f"{path}: {len(missing)} words are no tokens of the model, such as {shown}. Remove them.")
    return listed
