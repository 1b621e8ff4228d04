"""The forward pass of texts: pieces of like lengths; what a decoder's texts begin with is computed when bound."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import cast

import torch
from torch import Tensor

from service.engine.execution.eager_forward import BoundForward, EagerForward
from service.engine.execution.length_pieces import length_pieces, pass_tokens
from triggers.model import Bank, FrozenClassifier, Item, Trigger, scores
from triggers.model.prefix_cache import PrefixCache
from triggers.model.reprogram import reprogram
from triggers.preprocessing import TextBatch, TokenIds
from triggers.trigger import TextBank

PREFIX_COST = 8
"""Gathering keys and values takes about one part in so many of the time in which a pass is started."""


class TextForward(EagerForward):
    """Runs a text classifier eagerly, on any device."""

    def __init__(self, classifier: FrozenClassifier, sizes: Sequence[int] = (1,)) -> None:
        super().__init__(classifier, sizes)
        self._pass_tokens = pass_tokens(classifier)

    @torch.inference_mode()
    def bind(self, triggers: Sequence[Trigger]) -> BoundForward:
        """A pass over a bank of its own, with the triggers' own positions computed where attention is causal."""
        bank = self._classifier.bank(triggers)
        return partial(self._run_pieces, bank, PrefixCache.build(self._classifier, cast(TextBank, bank)))

    @torch.inference_mode()
    def _run_pieces(self, bank: Bank, prefix: PrefixCache | None, items: Sequence[Item], rows: Sequence[int]) -> Tensor:
        lengths = [len(cast(TokenIds, item).ids) for item in items]
        pieces = length_pieces(lengths, self._pass_tokens)
        parts = [self._piece(bank, prefix, [items[n] for n in piece], [rows[n] for n in piece]) for piece in pieces]
        order = torch.tensor([n for piece in pieces for n in piece])
        return torch.cat(parts)[order.argsort()]

    def _piece(self, bank: Bank, prefix: PrefixCache | None, items: Sequence[Item], rows: Sequence[int]) -> Tensor:
        index = torch.tensor(rows, device=self._classifier.device)
        batch = cast(TextBatch, self._classifier.batch(items))
        saves = prefix is not None and len(items) * prefix.width * PREFIX_COST > self._pass_tokens
        if prefix and saves and prefix.takes(batch):
            return scores(prefix.logits(batch, index)).cpu()
        return scores(reprogram(self._classifier, batch, bank, index)).cpu()
