"""Inputs that nobody sent: to warm a model up, to try a trigger out, to find out how long a batch takes."""

from __future__ import annotations

import torch

from triggers.model import FrozenClassifier, Item
from triggers.preprocessing import TokenIds


def blank_input(classifier: FrozenClassifier) -> Item:
    """A black image, or a text of no words."""
    image = classifier.spec.image
    if image:
        return torch.zeros(image.channels, image.size, image.size, dtype=torch.uint8)
    return _text(classifier, 2)


def largest_input(classifier: FrozenClassifier) -> Item:
    """An input than which none takes longer to compute."""
    text = classifier.spec.text
    return _text(classifier, text.max_tokens) if text else blank_input(classifier)


def _text(classifier: FrozenClassifier, tokens: int) -> TokenIds:
    first, last = classifier.tokenizer.cls_token_id or 0, classifier.tokenizer.sep_token_id or 0
    return TokenIds((first, *[last] * (tokens - 1)), truncated=False)
