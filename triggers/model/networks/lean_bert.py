"""BERT for sequence classification, from the same weights, computing only what its logits need.

The logits are read at the first position, so the last layer computes that position alone: one query, one row of the
feed forward network. Queries, keys and values come from one product instead of three. Sums are the same up to rounding.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention

BERT_CLASS = "BertForSequenceClassification"
"""The class of `transformers` that LeanBert replaces."""


class LeanBert(nn.Module):
    """Takes over the parts of a `transformers` BertForSequenceClassification in eval mode."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        parts = cast(Any, network)
        self.embeddings = parts.bert.embeddings
        self.layers = nn.ModuleList([LeanLayer(layer) for layer in parts.bert.encoder.layer])
        self.pooler, self.classifier = parts.bert.pooler.dense, parts.classifier

    @staticmethod
    def fits(network: nn.Module) -> bool:
        """Whether the network is of that class, with a pooler, as an encoder."""
        if type(network).__name__ != BERT_CLASS:
            return False
        parts = cast(Any, network)
        return parts.bert.pooler is not None and not parts.config.is_decoder

    def get_input_embeddings(self) -> nn.Embedding:
        """The word embeddings, as `transformers` names them."""
        return cast(nn.Embedding, self.embeddings.word_embeddings)

    def forward(self, inputs_embeds: Tensor, attention_mask: Tensor, position_ids: Tensor | None = None) -> Tensor:
        """Embeddings (N, M, D) and mask (N, M) to logits (N, labels)."""
        parts = self.embeddings
        if position_ids is None:
            position_ids = torch.arange(inputs_embeds.shape[1], device=inputs_embeds.device)
        added = parts.position_embeddings(position_ids) + parts.token_type_embeddings.weight[0]
        x = parts.LayerNorm(inputs_embeds + added)
        mask = attention_mask.bool()[:, None, None, :]
        for layer in self.layers[:-1]:
            x = layer(x, mask)
        x = self.layers[-1](x, mask, first_only=True)
        logits: Tensor = self.classifier(torch.tanh(self.pooler(x[:, 0])))
        return logits


class LeanLayer(nn.Module):
    """One encoder layer, at the first position only if asked."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        parts = cast(Any, layer)
        own = parts.attention.self
        self.heads = own.num_attention_heads
        projections = (own.query, own.key, own.value)
        self.weight = nn.Parameter(torch.cat([one.weight.detach() for one in projections]))
        self.bias = nn.Parameter(torch.cat([one.bias.detach() for one in projections]))
        self.mixed, self.attention_norm = parts.attention.output.dense, parts.attention.output.LayerNorm
        self.widened, self.act = parts.intermediate.dense, parts.intermediate.intermediate_act_fn
        self.narrowed, self.output_norm = parts.output.dense, parts.output.LayerNorm

    def forward(self, x: Tensor, mask: Tensor, first_only: bool = False) -> Tensor:
        """Outputs (N, M, D) at all positions of x (N, M, D), or (N, 1, D) at the first, attending to all of x."""
        wanted = x[:, :1] if first_only else x
        query, key, value = (self._heads(part) for part in self._projected(wanted, x, first_only))
        attended = scaled_dot_product_attention(query, key, value, attn_mask=mask)
        joined = attended.transpose(1, 2).flatten(2)
        middle = self.attention_norm(self.mixed(joined) + wanted)
        made: Tensor = self.output_norm(self.narrowed(self.act(self.widened(middle))) + middle)
        return made

    def _projected(self, wanted: Tensor, x: Tensor, first_only: bool) -> tuple[Tensor, ...]:
        if not first_only:
            return linear(x, self.weight, self.bias).chunk(3, dim=-1)
        width = x.shape[-1]
        keys_values = linear(x, self.weight[width:], self.bias[width:]).chunk(2, dim=-1)
        return linear(wanted, self.weight[:width], self.bias[:width]), *keys_values

    def _heads(self, projected: Tensor) -> Tensor:
        """(N, M, D) to (N, heads, M, D / heads)."""
        split: Tensor = projected.unflatten(-1, (self.heads, -1))
        return split.transpose(1, 2)
