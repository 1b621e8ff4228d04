"""What a text network's forward takes besides embeddings: masks, positions, token types, each only where it has it."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from triggers.errors import ModelError
from triggers.preprocessing import Padding, TextTemplate
from triggers.trigger.text import EmbeddedText, Position

NO_PAD_ID = -1
"""Stands for a missing `pad_token_id`, without which decoders of `transformers` refuse batches; no text holds it."""


class TextInput:
    """The arguments of one network. A decoder without a pad token gets NO_PAD_ID into its configuration, in memory."""

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        parameters = inspect.signature(network.forward).parameters
        wrapped = "inputs_embeds" not in parameters  # a forward(*args, **kwargs) around the network's own
        self._mask = wrapped or "attention_mask" in parameters
        self._positions, self._types = "position_ids" in parameters, "token_type_ids" in parameters
        self._fixed = {"use_cache": False} if "use_cache" in parameters else {}
        _allow_batches(network)

    def template(self, template: TextTemplate) -> TextTemplate:
        """The template without token types if this network does without: it takes none, or has all 0 anyway."""
        needed = self._types and template.types is not None
        if needed and template.types and template.types.all_zero:
            needed = not any(name.endswith("token_type_embeddings") for name, _ in self._network.named_modules())
        return template if needed else replace(template, types=None)

    def check_position(self, position: Position, template: TextTemplate, padding: Padding) -> None:
        """Raise ModelError if triggers cannot stand at this position."""
        if position != "as_published":
            return
        frame = len(template.prefix), len(template.suffix)
        reason = "its tokenizer frames a text with {} and {} special tokens, not one on either side".format(*frame)
        if padding == "left":
            reason = "it reads the last position of a text, not the first"
        elif frame == (1, 1):
            reason = "" if self._positions else "it takes no position ids"
        if reason:
            message = f"{type(self._network).__name__} cannot run an as_published trigger: {reason}."
            raise ModelError(message + " Train with trigger.position = after_cls or before_sep.")

    def options(self, text: EmbeddedText) -> dict[str, Any]:
        """All arguments but the embeddings; positions only where the network takes them."""
        options: dict[str, Any] = dict(self._fixed)
        if self._mask:
            options["attention_mask"] = text.mask
        if text.token_types is not None:
            options["token_type_ids"] = text.token_types
        if text.position_ids is not None and self._positions:
            options["position_ids"] = self._numbered(text.position_ids)
        return options

    def _numbered(self, natural: Tensor) -> Tensor:
        """Explicit position ids; RoBERTa-like models count from padding_idx + 1."""
        table = next((m for n, m in self._network.named_modules() if n.endswith("position_embeddings")), None)
        offset = getattr(table, "padding_idx", None)
        return natural if offset is None else natural + offset + 1


def input_embeddings(network: nn.Module) -> nn.Embedding:
    """The network's table of word embeddings. Raises ModelError if it has none."""
    try:
        table = cast(Any, network).get_input_embeddings()
    except (AttributeError, NotImplementedError):
        table = None
    if not isinstance(getattr(table, "weight", None), Tensor):
        named = type(network).__name__
        raise ModelError(
            f"{named} has no table of word embeddings (get_input_embeddings), which triggers are put into."
        )
    return cast(nn.Embedding, table)


def word_embeddings(embedding: nn.Embedding) -> Tensor:
    """Word embeddings (V, D) as the network uses them; a plain table's own weights."""
    weight = embedding.weight
    if type(embedding) is nn.Embedding and embedding.max_norm is None:
        return weight
    with torch.no_grad():
        made: Tensor = embedding(torch.arange(len(weight), device=weight.device))
    return made


def _allow_batches(network: nn.Module) -> None:
    """Let the head of a decoder read the last position of every row, which `left` padding makes the text's own."""
    config = _text_config(network)
    if getattr(config, "pad_token_id", NO_PAD_ID) is None:
        config.pad_token_id = NO_PAD_ID
    for name in ("transformers.modeling_layers", type(network).__module__):
        logging.getLogger(name).addFilter(_no_padding_warning)


@contextmanager
def original_pad_id(network: nn.Module) -> Iterator[None]:
    """The network's configuration as it was given, for as long as it is saved."""
    config = _text_config(network)
    stood_in = getattr(config, "pad_token_id", None) == NO_PAD_ID
    if stood_in:
        config.pad_token_id = None
    try:
        yield
    finally:
        if stood_in:
            config.pad_token_id = NO_PAD_ID


def _text_config(network: nn.Module) -> Any:
    config: Any = getattr(network, "config", None)
    return config.get_text_config() if hasattr(config, "get_text_config") else config


def _no_padding_warning(record: logging.LogRecord) -> bool:
    """Drop a warning that embeddings may hold padding: the padding of a bundle is known to be right."""
    return "will not detect padding tokens" not in record.getMessage()
