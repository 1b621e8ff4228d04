"""Keys and values of what every text of a decoder begins with: its special tokens and the trigger before its words.

Where attention is causal no later token changes them, so they are computed once for a trigger, not for every text. That
a network is such a decoder is found by trial: its logits must be those of the whole text.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from triggers.model.classifier import FrozenClassifier
from triggers.preprocessing import TextBatch
from triggers.trigger import TextBank

KeysValues: TypeAlias = tuple[Tensor, Tensor]
"""Of one layer, (V, heads, P, D / heads) each."""

TRIED_WORDS = (1, 7, 3)
"""Words of the texts that are tried."""
PREFIX_TOLERANCE = 1e-5
"""Largest difference of logits of about 1 in float32; four steps of a narrower type."""


@dataclass(frozen=True, eq=False)
class PrefixCache:
    """The prefixes of V triggers, padded on the left to P positions: mask (V, P), and keys and values of all layers."""

    classifier: FrozenClassifier
    mask: Tensor
    layers: Sequence[KeysValues]

    @classmethod
    def build(cls, classifier: FrozenClassifier, bank: TextBank) -> PrefixCache | None:
        """The prefixes of a bank; None where they would save nothing, or logits would not be the same."""
        spec, before = classifier.spec.text, any(bank.lengths) and set(bank.positions) == {"after_cls"}
        plain = spec is not None and spec.padding == "left" and classifier.template.types is None
        if not (before and plain and cache_argument(classifier.network)) or classifier.is_compiled:
            return None
        try:
            cache = cls._computed(classifier, bank)
            return cache if cache._is_exact(bank) else None
        except (RuntimeError, ValueError, TypeError, AttributeError, NotImplementedError, IndexError):
            return None  # a network whose cache is of another kind

    @classmethod
    def _computed(cls, classifier: FrozenClassifier, bank: TextBank) -> PrefixCache:
        from transformers import DynamicCache

        prefix = torch.tensor([classifier.template.prefix] * len(bank), dtype=torch.long, device=classifier.device)
        frames = TextBatch(prefix.view(len(bank), -1), torch.full((len(bank),), prefix.shape[-1], device=prefix.device))
        index = torch.arange(len(bank), device=classifier.device)
        template = replace(classifier.template, suffix=())
        text = bank.apply(frames, classifier.embed, index, template, left=True)
        filled = DynamicCache()
        run_with_cache(classifier.network, text.embeds, text.mask, text.position_ids, filled)
        seen = text.mask[:, None, :, None].bool()  # what stands at padding may be NaN, and is read times 0
        kept: Sequence[Any] = filled.layers
        layers = [(layer.keys.where(seen, 0.0), layer.values.where(seen, 0.0)) for layer in kept]
        return cls(classifier, text.mask, layers)

    @property
    def width(self) -> int:
        """The positions P of the longest prefix."""
        return self.mask.shape[1]

    def takes(self, batch: TextBatch) -> bool:
        """Whether no token of these texts slides out of the layers' window."""
        return self.width + batch.ids.shape[1] <= _window(self.classifier.network)

    def logits(self, batch: TextBatch, index: Tensor) -> Tensor:
        """Logits (N, labels) of texts, each with a word at least, under triggers index[n]."""
        from transformers import DynamicCache

        own, frame = self.classifier, len(self.classifier.template.prefix)
        words = TextBatch(batch.ids[:, frame:], batch.lengths - frame)
        bare = TextBank(own.embedding_matrix.new_zeros(1, 0, own.embedding_matrix.shape[1]), (0,), ("after_cls",))
        template = replace(own.template, prefix=())
        text = bare.apply(words, own.embed, torch.zeros_like(index), template, left=True)
        assert text.position_ids is not None
        before, cache = self.mask[index], DynamicCache()
        for number, (keys, values) in enumerate(self.layers):
            cache.update(keys[index], values[index], number)
        positions = text.position_ids + before.sum(dim=1, keepdim=True)
        return own.logits(
            run_with_cache(own.network, text.embeds, torch.cat([before, text.mask], dim=1), positions, cache)
        )

    def _is_exact(self, bank: TextBank) -> bool:
        """Whether logits of a few texts are those of the whole texts, under every trigger."""
        own, drawn = self.classifier, torch.Generator().manual_seed(0)
        frame, rows = own.template, len(own.embedding_matrix)
        words = [torch.randint(0, rows, (count,), generator=drawn).tolist() for count in TRIED_WORDS]
        batch = TextBatch.of([(*frame.prefix, *each, *frame.suffix) for each in words], own.pad_id).to(own.device)
        repeated = TextBatch(batch.ids.repeat(len(bank), 1), batch.lengths.repeat(len(bank)))
        if not self.takes(repeated):
            return False
        index = torch.arange(len(bank), device=own.device).repeat_interleave(len(batch))
        wanted, found = own.triggered_text_logits(repeated, bank, index), self.logits(repeated, index)
        narrow = own.dtype.itemsize < torch.float32.itemsize
        most = 4 * torch.finfo(own.dtype).eps if narrow else PREFIX_TOLERANCE
        return bool((wanted - found).abs().max() <= most * wanted.abs().max().clamp(min=1.0))


def cache_argument(network: nn.Module) -> str | None:
    """By which name a network takes keys and values: that of transformers, or its earlier one."""
    parameters = inspect.signature(network.forward).parameters
    return next((name for name in ("cache", "past_key_values") if name in parameters), None)


def run_with_cache(network: nn.Module, embeds: Tensor, mask: Tensor, positions: Tensor | None, cache: Any) -> Any:
    """A network's output for embeddings behind those in a `transformers` cache, which it fills; the mask is of both."""
    named: dict[str, Any] = {str(cache_argument(network)): cache, "use_cache": True}
    return network(inputs_embeds=embeds, attention_mask=mask, position_ids=positions, **named)


def _window(network: nn.Module) -> float:
    """The positions that a token sees; all, if its layers have no window."""
    config: Any = getattr(network, "config", None)
    stated = getattr(config.get_text_config(), "sliding_window", None) if config is not None else None
    return stated or math.inf
