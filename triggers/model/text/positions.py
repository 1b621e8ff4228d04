"""How many positions a text network has: the rows of the table that it looks them up in, if there is one.

Tables are found by what a forward pass of a few tokens looks up, so that their names do not matter. Rotary, ALiBi and
relative positions have no table, and no limit.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from triggers.model.text.text_input import input_embeddings

TOKENS = 7
"""Tokens of the pass: a number that no other lookup has."""


def max_positions(network: nn.Module) -> int | None:
    """The most tokens of a text, trigger included; None without a limit, or if the network does not run."""
    embedding = input_embeddings(network)
    ids = torch.zeros(1, TOKENS, dtype=torch.long, device=embedding.weight.device)
    options = {}
    if "attention_mask" in inspect.signature(network.forward).parameters:
        options["attention_mask"] = torch.ones_like(ids)
    lookups = _Lookups()
    try:
        with torch.no_grad(), lookups:
            network(inputs_embeds=embedding(ids), **options)
    except (RuntimeError, ValueError, TypeError, NotImplementedError, AttributeError, IndexError):
        return None
    return min(lookups.limits, default=None)


class _Lookups(TorchDispatchMode):
    """Notes, for every table that is read at TOKENS consecutive rows, how many rows there are from the first one on."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.limits: list[int] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        aten = torch.ops.aten
        if func is aten.embedding.default:
            self._see(args[0], 0, args[1])
        elif func is aten.index.Tensor and len(args[1]) and args[1][0] is not None:
            self._see(args[0], 0, args[1][0])
        elif func is aten.gather.default:
            self._see(args[0], args[1], args[2].select(-1, 0) if args[2].ndim > 1 else args[2])
        return func(*args, **(kwargs or {}))

    def _see(self, table: Tensor, dim: int, rows: Tensor) -> None:
        if not table.is_floating_point() or rows.numel() != TOKENS or rows.dtype == torch.bool:
            return
        first, limit = int(rows.flatten()[0]), table.shape[dim]
        consecutive = torch.arange(first, first + TOKENS, device=rows.device)
        if limit > TOKENS and bool((rows.flatten() == consecutive).all()):
            self.limits.append(limit - first)
