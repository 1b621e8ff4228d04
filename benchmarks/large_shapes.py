"""Shapes of large frozen classifiers, and their networks with random weights: nothing is downloaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from benchmarks.synthetic import BlankTokenizer
from trainer.data import Dataset
from triggers.model import BundleSpec, FrozenClassifier
from triggers.model.bundle import QUANTIZED, Precision
from triggers.model.networks.frozen_linear import quantize
from triggers.preprocessing import TextBatch

DISENTANGLED: Mapping[str, Any] = {
    "relative_attention": True,
    "position_buckets": 256,
    "pos_att_type": ["p2c", "c2p"],
    "position_biased_input": False,
    "share_att_key": True,
    "norm_rel_ebd": "layer_norm",
    "type_vocab_size": 0,
}
"""DeBERTa-v3's attention."""


@dataclass(frozen=True)
class Shape:
    """A configuration of `transformers` for classification, the batch that it is measured with, and its trigger.

    `length` is the longest text in tokens, without the trigger's five; images have the configuration's size.
    """

    model_type: str
    config: Mapping[str, Any]
    batch: int
    length: int = 0
    border: int = 20
    figures: str = ""
    """Its name among the figures of the record."""
    padding: str = "right"

    @property
    def image(self) -> bool:
        """Whether it reads images."""
        return not self.length

    def network(self, device: torch.device, precision: Precision = "bf16", layers: int | None = None) -> nn.Module:
        """The network, frozen, its random weights made on the device; with so many layers if stated."""
        from transformers import AutoConfig, AutoModelForImageClassification, AutoModelForSequenceClassification

        sizes = dict(self.config) | ({"num_hidden_layers": layers} if layers else {})
        config = AutoConfig.for_model(self.model_type, num_labels=2, pad_token_id=0, **sizes)
        auto: Any = AutoModelForImageClassification if self.image else AutoModelForSequenceClassification
        torch.manual_seed(0)
        with device:
            made: nn.Module = auto.from_config(
                config, dtype=torch.float32 if precision == "float32" else torch.bfloat16
            )
        made.requires_grad_(False).eval()
        return quantize(made, QUANTIZED[precision]) if precision in QUANTIZED else made

    def classifier(self, network: nn.Module, device: torch.device, precision: Precision = "bf16") -> FrozenClassifier:
        """The network as a bundle of that precision would give it."""
        said: dict[str, Any] = {"name": "large", "labels": ["no", "yes"], "loader": {"kind": "transformers"}}
        said |= {"modality": "image" if self.image else "text", "precision": precision}
        if self.image:
            said["image"] = {"size": self.config["image_size"], "mean": [0.5] * 3, "std": [0.25] * 3}
        else:
            said["text"] = {"max_tokens": self.length, "padding": self.padding}
        return _Undigested(BundleSpec.model_validate(said), network, BlankTokenizer(), str(device))

    def inputs(self, device: torch.device, batch: int | None = None) -> Dataset:
        """Random rows: images, or texts of half the length to all of it, the first one in full."""
        rows, drawn = batch or self.batch, torch.Generator().manual_seed(0)
        draws = torch.randint(0, 2, (2, rows), generator=drawn)
        if self.image:
            side = self.config["image_size"]
            given: Any = torch.randint(0, 256, (rows, 3, side, side), dtype=torch.uint8, generator=drawn)
        else:
            lengths = torch.randint(self.length // 2, self.length + 1, (rows,), generator=drawn)
            lengths[0] = self.length
            given = TextBatch(
                torch.randint(3, self.config["vocab_size"], (rows, self.length), generator=drawn), lengths
            )
        return Dataset(given, draws[0], draws[1], (), ("no", "yes"), ("a", "b")).to(device)


class _Undigested(FrozenClassifier):
    """Without a digest of its weights, which are random and take long to read."""

    def _weights_digest(self) -> str:
        return "random"


def _decoder(width: int, layers: int, heads: int, inner: int, vocabulary: int, keys: int) -> dict[str, Any]:
    sizes = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads}
    sizes |= {"intermediate_size": inner, "vocab_size": vocabulary, "num_key_value_heads": keys}
    return sizes | {"max_position_embeddings": 8192, "rms_norm_eps": 1e-5}


def _encoder(width: int, layers: int, heads: int, inner: int, **more: Any) -> dict[str, Any]:
    sizes = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads}
    return sizes | {"intermediate_size": inner, **more}


SHAPES = {
    "llama-8b": Shape(
        "llama",
        _decoder(4096, 32, 32, 14336, 128256, 8),
        batch=8,
        length=512,
        figures="decoder_8b",
        padding="left",
    ),
    "vit-l": Shape("vit", _encoder(1024, 24, 16, 4096, image_size=224, patch_size=16), batch=128, figures="vit_l16"),
    "deberta-large": Shape(
        "deberta-v2",
        _encoder(1024, 24, 16, 4096, vocab_size=128100, **DISENTANGLED),
        batch=32,
        length=300,
        figures="deberta_large",
    ),
    "llama-tiny": Shape(
        "llama", _decoder(64, 3, 4, 128, 512, 2), batch=4, length=40, figures="decoder_tiny", padding="left"
    ),
    "vit-tiny": Shape(
        "vit", _encoder(64, 3, 4, 128, image_size=64, patch_size=16), batch=4, border=4, figures="vit_tiny"
    ),
    "deberta-tiny": Shape(
        "deberta-v2",
        _encoder(64, 3, 4, 128, vocab_size=512, **DISENTANGLED),
        batch=4,
        length=40,
        figures="deberta_tiny",
    ),
}
"""The first three are measured on a GPU, the others try the same code anywhere."""
