"""Synthetic inputs and models of random weights, in the sizes that training steps are timed with."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trainer.data import Dataset
from triggers.model import BundleSpec, FrozenClassifier
from triggers.preprocessing import TextBatch


@dataclass(frozen=True)
class Sizes:
    """Sizes of the two steps: images of `side` pixels; texts of `length` tokens plus a trigger of `tokens`."""

    batch: int = 512
    side: int = 224
    texts: int = 32
    length: int = 300
    tokens: int = 5
    layers: int = 12
    width: int = 768
    repeats: int = 20


RESNET18_MACS = 1.814e9
"""Multiply-adds of ResNet-18 for one image of 224 pixels (torchvision's documentation)."""

CELEBA = 162_770
"""Images in the training part of CelebA."""

QUICK = Sizes(batch=16, side=64, texts=4, length=27, layers=2, width=64, repeats=3)


def image_classifier(side: int, device: torch.device) -> FrozenClassifier:
    """ResNet-18 with random weights and two labels."""
    spec = BundleSpec.model_validate(
        {
            "name": "bench",
            "modality": "image",
            "labels": ["no", "yes"],
            "loader": {"kind": "torchvision", "builder": "resnet18", "kwargs": {"num_classes": 2}},
            "image": {"size": side, "mean": [0.5] * 3, "std": [0.25] * 3},
        }
    )
    from torchvision.models import resnet18

    return FrozenClassifier(spec, resnet18(num_classes=2), device=str(device))


def smooth_image_classifier(side: int, device: torch.device) -> FrozenClassifier:
    """The same with SiLU for ReLU and means for maxima: no gradient jumps when a number changes in its last bits."""
    kinked = image_classifier(side, torch.device("cpu"))
    _smooth(kinked.network)
    return FrozenClassifier(kinked.spec, kinked.network, device=str(device))


def _smooth(network: nn.Module) -> None:
    for name, part in network.named_children():
        if isinstance(part, nn.ReLU):
            setattr(network, name, nn.SiLU())
        elif isinstance(part, nn.MaxPool2d):
            setattr(network, name, nn.AvgPool2d(part.kernel_size, part.stride, part.padding))
        else:
            _smooth(part)


def text_classifier(sizes: Sizes, device: torch.device) -> FrozenClassifier:
    """BERT-base (or smaller) with random weights and one logit, which counts as two labels."""
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        hidden_size=sizes.width,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.width // 64,
        intermediate_size=4 * sizes.width,
        id2label={0: "yes"},
    )
    spec = {"name": "bench", "modality": "text", "labels": ["no", "yes"], "loader": {"kind": "transformers"}}
    checked = BundleSpec.model_validate({**spec, "text": {"max_tokens": 512}})
    return FrozenClassifier(checked, BertForSequenceClassification(config), BlankTokenizer(), str(device))


class BlankTokenizer:
    """Stands where the fingerprint of the preprocessing wants a tokenizer; nothing is tokenised here."""

    pad_token_id = 0

    class backend_tokenizer:
        """Named after the attribute of `transformers`."""

        @staticmethod
        def to_str() -> str:
            """No tokenizer at all."""
            return ""

    def __call__(self, text: str, *, verbose: bool) -> dict[str, list[int]]:
        """[CLS] and [SEP] of BERT around nothing."""
        return {"input_ids": [101, 102]}


def image_batch(sizes: Sizes, device: torch.device) -> Dataset:
    """Random images, labels and groups."""
    generator = torch.Generator().manual_seed(0)
    shape = (sizes.batch, 3, sizes.side, sizes.side)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    return _batch(pixels, sizes.batch, device)


def text_batch(sizes: Sizes, device: torch.device) -> Dataset:
    """Random token ids, every text of full length."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(1000, 30000, (sizes.texts, sizes.length), generator=generator)
    return _batch(TextBatch(ids, torch.full((sizes.texts,), sizes.length)), sizes.texts, device)


def _batch(inputs: Tensor | TextBatch, rows: int, device: torch.device) -> Dataset:
    draws = torch.randint(0, 2, (2, rows), generator=torch.Generator().manual_seed(1))
    return Dataset(inputs, draws[0], draws[1], (), ("no", "yes"), ("a", "b")).to(device)
