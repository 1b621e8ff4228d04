"""The padding under which a text network is exact, found by trial.

Oracle are the network's own answers to token ids, one text at a time, with all that its tokenizer gives, as
`transformers.pipeline` runs it. They are compared with ours, from embeddings and all texts in one batch.
"""

from __future__ import annotations

import copy
import inspect
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from triggers.errors import ModelError
from triggers.model.classifier import FrozenClassifier
from triggers.model.networks.frozen_linear import in_dtype, is_large
from triggers.model.reprogram import reprogram
from triggers.model.text.vocabulary import Vocabulary
from triggers.preprocessing import Padding

PADDINGS: tuple[Padding, ...] = ("right", "left", "none")
"""The fastest first."""
LOGIT_TOLERANCE = 1e-5
"""Largest difference of logits that is rounding; more for logits beyond 1, in proportion."""
SPREAD_SHARE, LEAST = 0.01, 2e-7
"""Nor may it be more than this share of the differences between texts, down to what float32 resolves."""
MUCH = 0.01
"""A difference beyond this is no rounding, whatever the network."""
WORD_COUNTS = (1, 30, 2, 1, 8, 3, 13, 5)
"""Words of the texts that are tried; one more is as long as texts get."""
LONGEST = 128
"""Tokens of that one at most."""


@dataclass(frozen=True)
class PaddingCheck:
    """How far answers in a mixed batch under `padding` are from those to token ids alone: `difference` of logits.

    `reason` says in a few words why they are not the same; empty if they are.
    """

    padding: Padding
    difference: float
    reason: str = ""


def find_padding(classifier: FrozenClassifier, longest: int = LONGEST) -> Padding:
    """The first padding of right, left and none under which the network is exact. Raises ModelError if there is none.

    The padding that the classifier states plays no part. `longest` is the number of tokens of the longest text tried.
    """
    samples, checks = _Samples.draw(classifier, longest), []
    for padding in PADDINGS:
        check = samples.check(padding)
        if not check.reason:
            return padding
        checks.append(check)
    best = min(checks, key=lambda check: check.difference)
    network = type(classifier.network).__name__
    raise ModelError(f"{network} cannot be given triggers, under no padding: {best.reason}.")


def check_padding(
    classifier: FrozenClassifier, longest: int = LONGEST, word_counts: Sequence[int] = WORD_COUNTS
) -> PaddingCheck:
    """Whether the network is exact under the padding that its bundle states. Raises ModelError if it does not run."""
    assert classifier.spec.text
    return _Samples.draw(classifier, longest, word_counts).check(classifier.spec.text.padding)


@dataclass(frozen=True, eq=False)
class _Samples:
    """Texts and the network's own logits (N, labels) for them."""

    classifier: FrozenClassifier
    texts: Sequence[str]
    wanted: Tensor

    @classmethod
    def draw(cls, classifier: FrozenClassifier, longest: int, word_counts: Sequence[int] = WORD_COUNTS) -> _Samples:
        """Draw texts of the tokenizer's own words and run them one by one, in float32 if the network is narrower."""
        _check_constant(classifier)
        precise = _converted(classifier, torch.float32) if classifier.half_precision else classifier
        return cls.of(precise, _texts(precise, longest, word_counts))

    @classmethod
    def of(cls, classifier: FrozenClassifier, texts: Sequence[str]) -> _Samples:
        """Run texts one by one. Raises ModelError."""
        return cls(classifier, texts, _own_logits(classifier, texts))

    def check(self, padding: Padding) -> PaddingCheck:
        """Compare one mixed batch with the network's own logits; again in float64 where rounding may be to blame."""
        check = self._compared(padding)
        if not check.reason or check.difference > MUCH or self.classifier.dtype == torch.float64:
            return check
        again = self._doubled.check(padding)
        return replace(check, reason="") if not again.reason else check

    @cached_property
    def _doubled(self) -> _Samples:
        return _Samples.of(_converted(self.classifier, torch.float64), self.texts)

    def _compared(self, padding: Padding) -> PaddingCheck:
        classifier = _padded(self.classifier, padding)
        index = torch.zeros(len(self.texts), dtype=torch.long, device=classifier.device)
        try:
            bank = classifier.bank([classifier.null_trigger()])
            batch = classifier.batch([classifier.preprocess(text) for text in self.texts])
            with torch.no_grad():
                found = reprogram(classifier, batch, bank, index)
        except Exception as error:  # whatever the network's code raises is the reason
            return PaddingCheck(padding, torch.inf, f"it does not run on embeddings ({_said(error)})")
        difference = float((found - self.wanted).abs().max())
        if difference <= self.limit:
            return PaddingCheck(padding, difference)
        compared = (
            f"logits of embeddings in a mixed batch differ from those of token ids alone by up to {difference:.2g}"
        )
        return PaddingCheck(padding, torch.inf if math.isnan(difference) else difference, compared)

    @property
    def limit(self) -> float:
        """The largest difference that is rounding."""
        spread = float((self.wanted.amax(dim=0) - self.wanted.amin(dim=0)).max())
        allowed = LOGIT_TOLERANCE * max(1.0, float(self.wanted.abs().max()))
        return min(allowed, max(SPREAD_SHARE * spread, LEAST))


def _converted(classifier: FrozenClassifier, dtype: torch.dtype) -> FrozenClassifier:
    converted = copy.copy(classifier)
    large = is_large(classifier.network)
    converted.network = in_dtype(classifier.network, dtype) if large else copy.deepcopy(classifier.network).to(dtype)
    return converted


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _check_constant(classifier: FrozenClassifier) -> None:
    """Raise ModelError for a BigBird that answers a long text in one way before the first short one, and then never."""
    config: Any = getattr(classifier.network, "config", None)
    text = classifier.spec.text
    if getattr(config, "attention_type", None) == "block_sparse" and text:
        full = (5 + 2 * config.num_random_blocks) * config.block_size
        if text.max_tokens > full:
            message = f"{type(classifier.network).__name__} attends sparsely to more than {full} tokens, but no more"
            advice = f"after a shorter text: set text.max_tokens to {full}, or attention_type to original_full"
            raise ModelError(f"{message} {advice} in its config.json.")


def _padded(classifier: FrozenClassifier, padding: Padding) -> FrozenClassifier:
    """The classifier as if its bundle stated this padding."""
    assert classifier.spec.text
    padded = copy.copy(classifier)
    padded.spec = classifier.spec.model_copy(update={"text": replace(classifier.spec.text, padding=padding)})
    return padded


def _texts(classifier: FrozenClassifier, longest: int, word_counts: Sequence[int]) -> list[str]:
    """Texts of one word to `longest` tokens, the longest first."""
    assert classifier.spec.text
    vocabulary = Vocabulary.of(classifier.tokenizer, len(classifier.embedding_matrix))
    known = [word for word, whole in zip(vocabulary.words, vocabulary.whole.tolist(), strict=True) if whole]
    drawn = random.Random(0)
    words = [drawn.choice(known or ["the", "a", "good", "bad"]) for _ in range(longest)]
    most = min(longest, classifier.spec.text.max_tokens)
    long = next(n for n in range(longest, 0, -1) if n == 1 or _tokens(classifier, words[:n]) <= most)
    counts = [long, *(min(count, long) for count in word_counts)]
    return [" ".join(drawn.sample(words, count)) for count in counts]


def _tokens(classifier: FrozenClassifier, words: Sequence[str]) -> int:
    return len(classifier.tokenizer(" ".join(words), verbose=False)["input_ids"])


def _own_logits(classifier: FrozenClassifier, texts: Sequence[str]) -> Tensor:
    """Logits (N, labels) of each text alone, from its token ids. Raises ModelError."""
    network: Any = classifier.network
    parameters = inspect.signature(network.forward).parameters
    if "input_ids" not in parameters:  # a network of one's own, which takes embeddings only
        return _one_by_one(classifier, texts)
    anything = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values())
    options = {"use_cache": False} if "use_cache" in parameters else {}
    try:
        with torch.no_grad():
            rows = []
            for text in texts:
                given = classifier.tokenizer(text, return_tensors="pt", verbose=False).to(classifier.device)
                taken = {name: value for name, value in given.items() if anything or name in parameters}
                rows.append(classifier.logits(network(**taken, **options)))
    except Exception as error:  # whatever the network's code raises is the reason
        failed = f"{type(network).__name__} does not run on its own tokenizer's output"
        raise ModelError(f"{failed} ({_said(error)}).") from error
    return torch.cat(rows)


def _one_by_one(classifier: FrozenClassifier, texts: Sequence[str]) -> Tensor:
    bank, index = classifier.bank([classifier.null_trigger()]), torch.zeros(1, dtype=torch.long)
    with torch.no_grad():
        each = (classifier.batch([classifier.preprocess(text)]) for text in texts)
        return torch.cat([reprogram(classifier, batch, bank, index.to(classifier.device)) for batch in each])
