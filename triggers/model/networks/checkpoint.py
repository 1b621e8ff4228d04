"""A checkpoint's weights in the network that was built for them, and what they lack or have too many beside it."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

SHOWN = 3
"""Names of weights in a message."""


def load_weights(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Load all weights of a network. Raises RuntimeError or ValueError if they do not fit.

    Modules note a version with their weights, which safetensors do not keep; without it some refuse them (MNASNet).
    """
    versioned = OrderedDict(weights)
    versioned._metadata = network.state_dict()._metadata  # type: ignore[attr-defined]
    network.load_state_dict(versioned)


def checkpoint_fault(network: nn.Module, info: Mapping[str, Any]) -> str:
    """Why the weights that `transformers` loaded are not the whole network; empty if they are.

    `info` is its loading info. A weight that is left over counts where the network has its like: a layer beyond those
    that config.json states, or a bias of a module that was built without. Other heads and old buffers do not.
    """
    if missing := info["missing_keys"]:
        return f"the checkpoint lacks {_named(missing)}, which would be random: save the whole fine-tuned model"
    if mismatched := info["mismatched_keys"]:
        shapes = [f"{name} {tuple(found)}, not {tuple(wanted)}" for name, found, wanted in mismatched]
        return f"the checkpoint's weights have other shapes than config.json gives: {_named(shapes)}"
    if extra := left_over(network, info["unexpected_keys"]):
        return f"the checkpoint has {_named(extra)}, which config.json has no place for: use its own config.json"
    return ""


def left_over(network: nn.Module, unexpected: Iterable[str]) -> list[str]:
    """Of the checkpoint's weights that the network did not take, those that it should have had a place for."""
    shapes = {_pattern(name) for name in network.state_dict()}
    weighted = {name.rpartition(".")[0] for name, _ in network.named_parameters() if name.endswith(".weight")}
    return [name for name in unexpected if _pattern(name) in shapes or _is_bias_of(name, weighted)]


def not_finite(network: nn.Module) -> str:
    """Which weights are NaN or infinite; empty if none are."""
    suspects = [pair for pair in network.named_parameters() if not pair[1].sum(dtype=torch.float32).isfinite()]
    wrong = [name for name, weight in suspects if not weight.isfinite().all()]  # a sum may also overflow
    return f"weights are NaN or infinite: {_named(wrong)}; export the checkpoint again" if wrong else ""


def _is_bias_of(name: str, weighted: Collection[str]) -> bool:
    module, _, last = name.rpartition(".")
    return last == "bias" and module in weighted


def _pattern(name: str) -> str:
    """A weight's name with every number of a layer as #."""
    return re.sub(r"(?<=\.)\d+(?=\.)", "#", name)


def _named(names: Iterable[str]) -> str:
    """The first of some names, and how many more there are."""
    every = sorted(names)
    more = f" and {len(every) - SHOWN} more" if len(every) > SHOWN else ""
    return ", ".join(every[:SHOWN]) + more
