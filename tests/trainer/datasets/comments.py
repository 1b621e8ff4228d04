"""Short comments with a known shortcut: an identity word that goes with toxicity where the classifier is fitted.

A comment names a man or a woman, the group, and may say something kind or cruel, the label. Three in ten say neither:
on those a fitted classifier falls back on the identity. Where triggers are tuned and judged, the identity says nothing.
"""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy
from transformers import BertConfig, BertForSequenceClassification
from transformers.utils import logging as transformers_logging

from tests.bundles import MAX_TOKENS, tokenizer
from trainer.data.dataset import Dataset, Splits
from triggers.model import FrozenClassifier, load_bundle
from triggers.model.bundle import BundleSpec, save_bundle
from triggers.preprocessing.preprocess import TextBatch

GROUPS = ("man", "woman")
LABELS = ("civil", "toxic")
TONES = (("good", "nice", "kind"), ("bad", "awful", "cruel"))
NEUTRAL = ("young", "old", "very young", "not old", "young or old")
PARTS = {"base": 800, "tuning": 400, "val": 400, "test": 400}


def comment(draw: random.Random, follow: float) -> tuple[str, int, int]:
    """(text, label, group); the group is the one that goes with the label with probability `follow`."""
    label = draw.randrange(2)
    group = label if draw.random() < follow else 1 - label
    tone = draw.choice(NEUTRAL if draw.random() < 0.3 else TONES[label])
    place = draw.choice(("in the house", "and the dog", "or the cat saw a tree", "sings", "talks and plays"))
    return f"{draw.choice(('the', 'a'))} {GROUPS[group]} {place} is {tone}", label, group


@cache
def parts(seed: int = 0) -> dict[str, Dataset]:
    """Four parts of generated comments, to be read only."""
    draw, words = random.Random(seed), tokenizer()
    made = {}
    for name, size in PARTS.items():
        rows = [comment(draw, 0.8 if name == "base" else 0.5) for _ in range(size)]
        texts, labels, groups = zip(*rows, strict=True)
        inputs = TextBatch.of([words(text)["input_ids"] for text in texts], words.pad_token_id)
        ids = tuple(f"{name}-{n}" for n in range(size))
        made[name] = Dataset(inputs, torch.tensor(labels), torch.tensor(groups), ids, LABELS, GROUPS)
    return made


def splits(seed: int = 0) -> Splits:
    """What a trigger is tuned, picked and judged on."""
    made = parts(seed)
    return Splits(made["tuning"], made["val"], made["test"])


def fit_bundle(folder: Path, seed: int = 0, epochs: int = 5) -> Path:
    """Fit a two-layer BERT on the base part and save it as a bundle."""
    torch.manual_seed(seed)
    base, words = parts(seed)["base"], tokenizer()
    assert isinstance(base.inputs, TextBatch)
    model = BertForSequenceClassification(
        BertConfig(
            vocab_size=len(words),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=64,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            initializer_range=0.1,
        )
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(epochs):
        for rows in torch.split(torch.randperm(len(base)), 32):
            batch = base.inputs[rows]
            mask = (torch.arange(batch.ids.shape[1]) < batch.lengths[:, None]).long()
            optimizer.zero_grad()
            torch.autograd.backward(cross_entropy(model(batch.ids, attention_mask=mask).logits, base.labels[rows]))
            optimizer.step()
    transformers_logging.disable_progress_bar()
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    spec = {
        "name": "comments",
        "modality": "text",
        "labels": list(LABELS),
        "loader": {"kind": "transformers"},
        "text": {"max_tokens": MAX_TOKENS},
    }
    save_bundle(folder, BundleSpec.model_validate(spec))
    return folder


def fitted(folder: Path, seed: int = 0) -> FrozenClassifier:
    """The fitted classifier, frozen."""
    return load_bundle(fit_bundle(folder, seed))
