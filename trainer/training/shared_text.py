"""Texts whose trigger stands behind the words of a decoder: the words are computed once for all strengths.

Where attention is causal a trigger changes nothing before it. So the words need no gradient, nothing of them is kept
for the way back but keys and values, and K triggers share one pass over them. That a network is such a decoder is found
by trial: its logits must be those of the whole text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from triggers.model import FrozenClassifier
from triggers.model.prefix_cache import PREFIX_TOLERANCE, cache_argument, run_with_cache
from triggers.preprocessing import TextBatch
from triggers.trigger import TextBank
from triggers.trigger.text import Position

WIDTH_MULTIPLE = 8
"""Text widths are multiples of this: attention kernels of GPUs want it, and fall back to slow ones otherwise."""
TRIED_TOKENS, TRIED_TRIGGERS = (9, 2, 24), 2


def shares_text(classifier: FrozenClassifier, position: Position, dtype: torch.dtype) -> bool:
    """Whether `shared_text_logits` gives the logits of whole texts, up to rounding."""
    spec = classifier.spec.text
    plain = spec is not None and spec.padding == "left" and classifier.template.types is None
    behind = position == "before_sep" and cache_argument(classifier.network) is not None
    if not (plain and behind) or classifier.is_compiled:
        return False
    drawn, rows = torch.Generator().manual_seed(0), len(classifier.embedding_matrix)
    texts = [torch.randint(0, rows, (count,), generator=drawn).tolist() for count in TRIED_TOKENS]
    frame = classifier.template
    batch = TextBatch.of([(*frame.prefix, *each, *frame.suffix) for each in texts], classifier.pad_id)
    batch = batch.to(classifier.device)
    words = torch.randint(0, rows, (TRIED_TRIGGERS * len(batch), 3), generator=drawn).to(classifier.device)
    own = classifier.embed(words).to(dtype)
    bank = TextBank(own, (3,) * len(own), (position,) * len(own))
    repeated = TextBatch(batch.ids.repeat(TRIED_TRIGGERS, 1), batch.lengths.repeat(TRIED_TRIGGERS))
    try:
        with torch.no_grad():
            wanted = classifier.triggered_text_logits(repeated, bank, torch.arange(len(own), device=own.device))
            found = shared_text_logits(classifier, batch, own)
    except (RuntimeError, ValueError, TypeError, AttributeError, NotImplementedError, IndexError):
        return False  # a network whose cache is of another kind
    most = PREFIX_TOLERANCE if dtype == torch.float32 else 4 * torch.finfo(dtype).eps
    return bool((wanted - found).abs().max() <= most * wanted.abs().max().clamp(min=1.0))


def shared_text_logits(classifier: FrozenClassifier, batch: TextBatch, own: Tensor) -> Tensor:
    """Logits (K * b, L) of b texts with triggers (K * b, T, D) behind their words. Gradients flow to the triggers."""
    from transformers import DynamicCache

    frame, count = classifier.template, len(own) // len(batch)
    behind_words = own.shape[1] + len(frame.suffix)
    width = -(-(batch.ids.shape[1] + behind_words) // WIDTH_MULTIPLE) * WIDTH_MULTIPLE - behind_words
    ids = pad(batch.ids, (0, width - batch.ids.shape[1]), value=classifier.pad_id)
    words = TextBatch(ids, batch.lengths - len(frame.suffix))
    bare = TextBank(own.new_zeros(1, 0, own.shape[-1]), (0,), ("after_cls",))
    index = torch.zeros(len(batch), dtype=torch.long, device=own.device)
    text = bare.apply(words, classifier.embed, index, replace(frame, suffix=()), left=True, width=width)
    seen, cache = DynamicCache(), DynamicCache()
    with torch.no_grad():
        run_with_cache(classifier.network, text.embeds, text.mask, text.position_ids, seen)
    layers: Sequence[Any] = seen.layers
    for number, layer in enumerate(layers):
        cache.update(layer.keys.repeat(count, 1, 1, 1), layer.values.repeat(count, 1, 1, 1), number)
    suffix = classifier.embed(torch.tensor(frame.suffix, dtype=torch.long, device=own.device))
    behind = torch.cat([own, suffix.to(own.dtype).expand(len(own), -1, -1)], dim=1)
    positions = words.lengths.repeat(count)[:, None] + torch.arange(behind.shape[1], device=own.device)
    mask = torch.cat([text.mask.repeat(count, 1), text.mask.new_ones(len(own), behind.shape[1])], dim=1)
    return classifier.logits(run_with_cache(classifier.network, behind, mask, positions, cache))
