"""Triggers of words while they are searched: which words there are, and how K triggers are made of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias, cast

import torch
from torch import Tensor, nn

from trainer.config.run_config import TriggerConfig
from trainer.data import Dataset
from trainer.training.build_module import allowed_words
from triggers.errors import ConfigError
from triggers.model import Bank, FrozenClassifier
from triggers.model.endpoint.word_bank import texts_of
from triggers.model.endpoint_classifier import EndpointClassifier
from triggers.model.text.vocabulary import Vocabulary
from triggers.preprocessing import TextBatch
from triggers.storage.regular_file import read_regular
from triggers.trigger import TextTrigger

Words: TypeAlias = tuple[int, ...]
"""A trigger as places in a list of words; empty: no trigger."""
LETTERS = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True, eq=False)
class TriggerVocabulary:
    """Words that triggers may be made of, the tuning texts' commonest first; `ids`, `matrix` where a model has them."""

    classifier: FrozenClassifier
    trigger: TriggerConfig
    words: tuple[str, ...]
    ids: tuple[int, ...] | None = None

    @classmethod
    def of(cls, classifier: FrozenClassifier, trigger: TriggerConfig, tuning: Dataset) -> TriggerVocabulary:
        """The allowed words of the tuning texts, or those of trigger.allowed_words_file. Raises ConfigError."""
        inputs = cast(TextBatch, tuning.inputs)
        if isinstance(classifier, EndpointClassifier):
            found = cls(classifier, trigger, _written(inputs, trigger))
        else:
            vocabulary = Vocabulary.of(classifier.tokenizer, len(classifier.embedding_matrix))
            allowed = allowed_words(trigger, vocabulary)
            real = torch.arange(inputs.ids.shape[1])[None] < inputs.lengths.cpu()[:, None]
            counts = torch.bincount(inputs.ids.cpu()[real], minlength=len(allowed))
            if trigger.allowed_words_file:
                counts += 1
            order = counts.masked_fill(~allowed, 0).argsort(descending=True, stable=True)
            ids = order[: int(((counts > 0) & allowed).sum())].tolist()
            found = cls(classifier, trigger, tuple(vocabulary.words[i] for i in ids), tuple(ids))
        if not found.words:
            raise ConfigError("No word of the tuning texts is allowed in the trigger; widen trigger.allowed_words.")
        return found

    def trigger_of(self, chosen: Words) -> TextTrigger:
        """The trigger of some words."""
        none = cast(TextTrigger, self.classifier.null_trigger())
        if not chosen:
            return none
        words, position = tuple(self.words[at] for at in chosen), self.trigger.position
        if self.ids is None:
            return TextTrigger("hard", position, torch.zeros(len(words), none.embeddings.shape[1]), None, words)
        ids = tuple(self.ids[at] for at in chosen)
        matrix = self.classifier.embedding_matrix.float()
        return TextTrigger("hard", position, matrix[list(ids)].cpu().clone(), ids, words)

    def bank(self, chosen: Sequence[Words]) -> Bank:
        """The bank of several triggers."""
        return self.classifier.bank([self.trigger_of(one) for one in chosen])


class WordModule(nn.Module):
    """K triggers of up to T words; `places` (K, T) are those of their words in the list, -1 where there is none."""

    def __init__(self, words: TriggerVocabulary, count: int, tokens: int) -> None:
        super().__init__()
        self._words = (words,)  # in a tuple: it belongs to the run
        self.places = nn.Parameter(torch.full((count, tokens), -1), requires_grad=False)

    def choose(self, chosen: Sequence[Words]) -> None:
        """Make the K triggers of these words."""
        self.places.fill_(-1)
        for k, words in enumerate(chosen):
            self.places[k, : len(words)] = torch.tensor(words, dtype=torch.long)

    def render(self) -> Bank:
        """The K triggers as one bank."""
        return self._words[0].bank(self.chosen())

    def export(self) -> list[TextTrigger]:
        """The K triggers."""
        return [self._words[0].trigger_of(one) for one in self.chosen()]

    def chosen(self) -> list[Words]:
        """The words of each of the K triggers."""
        return [tuple(place for place in row if place >= 0) for row in self.places.tolist()]


def _written(inputs: TextBatch, trigger: TriggerConfig) -> tuple[str, ...]:
    """Words of texts, by the number of texts that have them."""
    if trigger.allowed_words_file:
        try:
            return tuple(dict.fromkeys(read_regular(trigger.allowed_words_file).decode().split()))
        except OSError as error:
            unread = f"trigger.allowed_words_file {trigger.allowed_words_file} cannot be read: {error.strerror}."
            raise ConfigError(unread) from error
    counts: Counter[str] = Counter()
    for text in texts_of(inputs):
        lower: Tensor | str = text.lower()
        found = LETTERS.findall(str(lower)) if trigger.allowed_words == "whole" else str(lower).split()
        counts.update(dict.fromkeys(found, 1))
    return tuple(word for word, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0])))
