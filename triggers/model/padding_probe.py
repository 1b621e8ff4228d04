"""The padding under which a text network is exact, found by trial.

Oracle are the network's own answers to token ids, one text at a time, with all that its tokenizer gives, as
`transformers.pipeline` runs it. They are compared with ours, from embeddings and all texts in one batch.
"""

from __future__ import annotations

import copy
import inspect
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor

from triggers.errors import ModelError
from triggers.model.classifier import FrozenClassifier
from triggers.model.preprocessor import Item
from triggers.model.reprogram import reprogram
from triggers.model.vocabulary import Vocabulary
from triggers.preprocessing import Padding, TokenIds

PADDINGS: tuple[Padding, ...] = ("right", "left", "none")
"""The fastest first."""
TOLERANCE = 1e-5
"""Largest difference of logits that is rounding; more for logits beyond 1, in proportion."""
SPREAD_SHARE, LEAST = 0.01, 2e-7
"""Nor may it be more than this share of the differences between texts, down to what float32 resolves."""
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
    samples = _Samples.draw(classifier, longest)
    checks = []
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
    """Texts as items of a batch, and the network's own logits (N, labels) for them."""

    classifier: FrozenClassifier
    items: Sequence[Item]
    wanted: Tensor

    @classmethod
    def draw(cls, classifier: FrozenClassifier, longest: int, word_counts: Sequence[int] = WORD_COUNTS) -> _Samples:
        """Draw texts of the tokenizer's own words and run them one by one, in float32 if the network is narrower."""
        precise = _precise(classifier)
        texts = _texts(precise, longest, word_counts)
        return cls(precise, [precise.preprocess(text) for text in texts], _own_logits(precise, texts))

    def check(self, padding: Padding) -> PaddingCheck:
        """Compare the logits of one mixed batch with the network's own."""
        classifier = _padded(self.classifier, padding)
        index = torch.zeros(len(self.items), dtype=torch.long, device=classifier.device)
        try:
            bank = classifier.bank([classifier.null_trigger()])
            with torch.no_grad():
                found = reprogram(classifier, classifier.batch(self.items), bank, index)
        except Exception as error:  # whatever the network's code raises is the reason
            said = " ".join(str(error).split())[:200]
            return PaddingCheck(padding, torch.inf, f"it does not run on embeddings ({type(error).__name__}: {said})")
        difference = float((found - self.wanted).abs().max())
        if difference <= self.limit:
            return PaddingCheck(padding, difference)
        compared = (
            f"logits of embeddings in a mixed batch differ from those of token ids alone by up to {difference:.2g}"
        )
        return PaddingCheck(padding, difference if difference == difference else torch.inf, compared)

    @property
    def limit(self) -> float:
        """The largest difference that is rounding."""
        spread = float((self.wanted.amax(dim=0) - self.wanted.amin(dim=0)).max())
        allowed = TOLERANCE * max(1.0, float(self.wanted.abs().max()))
        return min(allowed, max(SPREAD_SHARE * spread, LEAST))


def _precise(classifier: FrozenClassifier) -> FrozenClassifier:
    if not classifier.half_precision:
        return classifier
    precise = copy.copy(classifier)
    precise.network = copy.deepcopy(classifier.network).float()
    return precise


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
        said = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise ModelError(f"{type(network).__name__} does not run on its own tokenizer's output ({said}).") from error
    return torch.cat(rows)


def _one_by_one(classifier: FrozenClassifier, texts: Sequence[str]) -> Tensor:
    bank, index = classifier.bank([classifier.null_trigger()]), torch.zeros(1, dtype=torch.long)
    with torch.no_grad():
        each = (classifier.batch([cast(TokenIds, classifier.preprocess(text))]) for text in texts)
        return torch.cat([reprogram(classifier, batch, bank, index.to(classifier.device)) for batch in each])
