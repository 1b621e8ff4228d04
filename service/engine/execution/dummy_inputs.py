"""Dummy inputs, to warm a model up, to smoke-test a trigger, and to time a batch."""

from __future__ import annotations

import torch

from triggers.model import FrozenClassifier, Item
from triggers.preprocessing import TokenIds


def blank_input(classifier: FrozenClassifier) -> Item:
    """A black image, or a text of no words (of one, where nothing frames a text)."""
    image = classifier.spec.image
    if image:
        return torch.zeros(image.pixel_shape, dtype=torch.uint8)
    return _text(classifier, max(1, classifier.template.tokens))


def largest_input(classifier: FrozenClassifier) -> Item:
    """An input that takes longest to compute: a text of `max_tokens` tokens, or an image."""
    text = classifier.spec.text
    return _text(classifier, text.max_tokens) if text else blank_input(classifier)


def _text(classifier: FrozenClassifier, tokens: int) -> TokenIds:
    template = classifier.template
    word = (*reversed(template.suffix), *template.prefix, classifier.pad_id)[0]
    return TokenIds((*template.prefix, *[word] * (tokens - template.tokens), *template.suffix), truncated=False)
