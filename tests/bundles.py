"""Tiny real bundles for tests: a torchvision network, a factory network, a two-layer BERT with its tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from torch import nn
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from triggers.model.bundle import BundleSpec, save_bundle

SIZE = 16
"""Side of the tiny image models' input in pixels."""

OBLONG = (24, 40)
"""Height and width of the input of the tiny image model that takes no squares."""

MAX_TOKENS = 24
"""Token limit of the tiny text model."""

WORDS = (
    "the a good bad nice awful movie man woman boy girl house dog cat tree sun said went saw and or not very people "
    "are is was kind cruel young old city team plays sings talks"
).split()


def tiny_network(labels: int = 2, channels: int = 3) -> nn.Module:
    """Two small convolutions without batch norm; the target of the factory loader in tests."""
    return nn.Sequential(
        nn.Conv2d(channels, 8, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32, labels),
    )


def image_bundle(folder: Path, name: str = "faces", seed: int = 0) -> Path:
    """A factory bundle with random weights; labels `plain` and `attractive`."""
    torch.manual_seed(seed)
    spec = {
        "name": name,
        "modality": "image",
        "labels": ["plain", "attractive"],
        "loader": {"kind": "factory", "target": "tests.bundles:tiny_network"},
        "image": {"size": SIZE, "mean": [0.5] * 3, "std": [0.25] * 3},
    }
    save_bundle(folder, BundleSpec.model_validate(spec), tiny_network().state_dict())
    return folder


def oblong_bundle(folder: Path, name: str = "oblong", seed: int = 0) -> Path:
    """The network of `image_bundle` for images of OBLONG pixels: the shorter edge resized, the centre cropped."""
    torch.manual_seed(seed)
    height, width = OBLONG
    steps = [
        {"op": "resize", "shorter_edge": 44, "interpolation": "bicubic", "library": "torchvision"},
        {"op": "center_crop", "height": height, "width": width},
    ]
    spec = {
        "name": name,
        "modality": "image",
        "labels": ["plain", "attractive"],
        "loader": {"kind": "factory", "target": "tests.bundles:tiny_network"},
        "image": {"height": height, "width": width, "mean": [0.5] * 3, "std": [0.25] * 3, "steps": steps},
    }
    save_bundle(folder, BundleSpec.model_validate(spec), tiny_network().state_dict())
    return folder


def torchvision_bundle(folder: Path, seed: int = 0) -> Path:
    """A ResNet-18 with random weights at 32 pixels."""
    from torchvision.models import get_model

    torch.manual_seed(seed)
    spec = {
        "name": "resnet",
        "modality": "image",
        "labels": ["no", "yes"],
        "loader": {"kind": "torchvision", "builder": "resnet18", "kwargs": {"num_classes": 2}},
        "image": {"size": 32, "mean": [0.5] * 3, "std": [0.25] * 3},
    }
    save_bundle(folder, BundleSpec.model_validate(spec), get_model("resnet18", num_classes=2).state_dict())
    return folder


def tokenizer() -> PreTrainedTokenizerFast:
    """A WordPiece tokenizer over WORDS and single letters, with BERT's special tokens."""
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS, *letters[1:], *("##" + letter for letter in letters)]
    ids = {word: i for i, word in enumerate(dict.fromkeys(vocabulary))}
    core = Tokenizer(WordPiece(ids, unk_token="[UNK]"))
    core.normalizer = Lowercase()
    core.pre_tokenizer = Whitespace()
    core.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])]
    )
    names = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=core, model_max_length=64, **names)


def text_bundle(folder: Path, name: str = "posts", seed: int = 0) -> Path:
    """A two-layer BERT with random, not too small weights; labels `civil` and `toxic`."""
    return _bert_bundle(folder, seed, {"name": name}, {})


SIX_LABELS = ("toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate")


def multi_label_bundle(folder: Path, threshold: float | None, index: int = 0, seed: int = 0) -> Path:
    """A two-layer BERT of six sigmoids from 0 to 1, of which the one at `index` counts."""
    network = {"id2label": dict(enumerate(SIX_LABELS)), "problem_type": "multi_label_classification"}
    labels = ["civil", SIX_LABELS[index]]
    head = {"kind": "multi_label", "outputs": len(SIX_LABELS), "index": index}
    return _bert_bundle(
        folder, seed, {"name": "posts", "labels": labels, "head": head, "threshold": threshold}, network, sharpness=8
    )


def _bert_bundle(
    folder: Path, seed: int, fields: dict[str, Any], network: dict[str, Any], sharpness: float = 1.0
) -> Path:
    torch.manual_seed(seed)
    words = tokenizer()
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.3,
        **network,
    )
    transformers_logging.disable_progress_bar()
    built = BertForSequenceClassification(config)
    with torch.no_grad():
        built.classifier.weight.mul_(sharpness)
    built.save_pretrained(folder)
    words.save_pretrained(folder)
    spec = {
        "modality": "text",
        "labels": ["civil", "toxic"],
        "loader": {"kind": "transformers"},
        "text": {"max_tokens": MAX_TOKENS},
        **fields,
    }
    save_bundle(folder, BundleSpec.model_validate(spec))
    return folder
