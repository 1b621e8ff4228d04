"""Trainable text triggers: K of them side by side, one per strength, rendered to the canonical bank.

Kinds (FairReprogram, section 3.2, and its code): hard, one word per slot, straight-through gradient; soft, a mixture
of word embeddings with weights on the simplex; embedding, free vectors. Departures from the code, on purpose: the
projection runs after every optimiser step and is exact, not a bisection; words a trigger may use are masked in the
argmax too; free embeddings start from real words, so that they have the scale of trained embeddings.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from triggers.errors import ConfigError
from triggers.trigger.text import Position, TextBank, TextKind, TextTrigger


class TextModule(nn.Module):
    """Base of the three kinds: `render` gives the bank with gradients, `export` the finished triggers."""

    kind: TextKind

    def __init__(self, position: Position) -> None:
        super().__init__()
        self.position: Position = position

    def embeddings(self) -> Tensor:
        """The K triggers (K, T, D), differentiable."""
        raise NotImplementedError

    def render(self) -> TextBank:
        """The K triggers as one bank, differentiable."""
        embeddings = self.embeddings()
        count, tokens = embeddings.shape[:2]
        return TextBank(embeddings, (tokens,) * count, (self.position,) * count)

    def export(self) -> list[TextTrigger]:
        """The K triggers as they are now, detached and on the CPU."""
        with torch.no_grad():
            return [TextTrigger(self.kind, self.position, row.cpu().clone()) for row in self.embeddings()]

    def constrain_(self) -> None:
        """Bring the parameters back into their set after an optimiser step."""


class EmbeddingModule(TextModule):
    """Free vectors (K, T, D)."""

    kind: TextKind = "embedding"

    def __init__(self, start: Tensor, position: Position) -> None:
        super().__init__(position)
        self.weight = nn.Parameter(start)

    def embeddings(self) -> Tensor:
        """The vectors themselves."""
        return self.weight


class SoftModule(TextModule):
    """Mixtures of word embeddings: weights (K, T, V) with 0 <= v and sum <= 1, zero on words not allowed."""

    kind: TextKind = "soft"

    def __init__(self, ids: Tensor, count: int, matrix: Tensor, allowed: Tensor, position: Position) -> None:
        super().__init__(position)
        self._matrix = (matrix.detach(),)  # in a tuple: it belongs to the frozen model, not to this module's state
        self._allowed = allowed.to(matrix.device)
        start = torch.zeros(len(ids), len(matrix)).scatter(1, ids.unsqueeze(1), 1.0)
        self.weight = nn.Parameter(start.repeat(count, 1, 1).to(matrix.device))

    @property
    def matrix(self) -> Tensor:
        """The frozen word embeddings (V, D)."""
        return self._matrix[0]

    def embeddings(self) -> Tensor:
        """weights @ word embeddings."""
        return self.weight @ self.matrix

    def constrain_(self) -> None:
        """Zero the words that are not allowed and project every row."""
        with torch.no_grad():
            self.weight.copy_(project(self.weight.masked_fill(~self._allowed, 0.0)))


class HardModule(SoftModule):
    """One word per slot: the value of the best allowed word, the gradient of the mixture."""

    kind: TextKind = "hard"

    def __init__(
        self, ids: Tensor, count: int, matrix: Tensor, allowed: Tensor, position: Position, vocabulary: Sequence[str]
    ) -> None:
        super().__init__(ids, count, matrix, allowed, position)
        self._vocabulary = vocabulary

    def token_ids(self) -> Tensor:
        """The chosen words (K, T)."""
        return self.weight.detach().masked_fill(~self._allowed, -torch.inf).argmax(dim=2)

    def embeddings(self) -> Tensor:
        """Exactly the chosen words' embeddings in value, straight-through in gradient."""
        soft = super().embeddings()
        return self.matrix[self.token_ids()] + (soft - soft.detach())

    def export(self) -> list[TextTrigger]:
        """The K triggers with their token ids and words."""
        made = []
        for row in self.token_ids():
            ids = tuple(row.tolist())
            words = tuple(self._vocabulary[i] for i in ids)
            made.append(TextTrigger("hard", self.position, self.matrix[row].cpu().clone(), ids, words))
        return made


def project(weights: Tensor) -> Tensor:
    """Euclidean projection of the last axis onto {0 <= v, sum(v) <= 1}.

    Rows inside stay; others go to the simplex by sorting (Duchi et al., ICML 2008), which is the same point as the t
    with sum clip(v - t, 0, 1) = 1 that the published code finds by bisection.
    """
    clipped = weights.clamp(min=0.0)
    inside = clipped.sum(dim=-1, keepdim=True) <= 1.0
    ordered = weights.sort(dim=-1, descending=True).values
    excess = ordered.cumsum(dim=-1) - 1.0
    rank = torch.arange(1, weights.shape[-1] + 1, device=weights.device, dtype=weights.dtype)
    support = (ordered - excess / rank > 0).sum(dim=-1, keepdim=True)
    threshold = excess.gather(-1, support - 1) / support
    return torch.where(inside, clipped, (weights - threshold).clamp(min=0.0))


def build_text_module(
    kind: str,
    *,
    count: int,
    tokens: int,
    position: Position,
    matrix: Tensor,
    vocabulary: Sequence[str],
    allowed: Tensor,
    seed: int,
) -> TextModule:
    """Build K = count trainable triggers of `tokens` words. matrix (V, D), allowed bool (V,). Raises ConfigError."""
    if tokens < 1:
        raise ConfigError(f"trigger.tokens is {tokens}; a text trigger needs at least one word.")
    candidates = allowed.nonzero().squeeze(1).cpu()
    if not len(candidates):
        raise ConfigError("No word of the vocabulary is allowed in the trigger; widen trigger.allowed_words.")
    generator = torch.Generator().manual_seed(seed)
    ids = candidates[torch.randint(len(candidates), (tokens,), generator=generator)]
    if kind == "embedding":
        return EmbeddingModule(matrix.detach()[ids.to(matrix.device)].repeat(count, 1, 1), position)
    if kind == "soft":
        return SoftModule(ids, count, matrix, allowed, position)
    if kind == "hard":
        return HardModule(ids, count, matrix, allowed, position, vocabulary)
    raise ConfigError(f"trigger.kind {kind!r} is no text trigger; choose hard, soft or embedding.")
