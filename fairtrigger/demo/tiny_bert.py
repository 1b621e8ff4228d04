"""Fits the demo's text classifier: a two-layer BERT from scratch, small enough for a CPU, then frozen into a bundle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import OneCycleLR
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast
from transformers.utils.logging import disable_progress_bar

from fairtrigger.demo.comments import COMMENT_LABELS, Comment
from triggers.model import BundleSpec
from triggers.model.bundle import save_bundle
from triggers.preprocessing import TextBatch

MAX_TOKENS = 64
BERT_STEPS, _BATCH, _LR = 600, 64, 4e-3


def fit_bert(
    folder: Path, made: Sequence[Comment], seed: int, advance: Callable[[int], object] = lambda done: None
) -> None:
    """Fit on the biased collection and write the bundle; `advance(1)` hears of every one of BERT_STEPS steps."""
    words = _tokenizer([comment.text for comment in made])
    torch.manual_seed(seed)
    network = BertForSequenceClassification(_config(len(words)))
    encoded = words([comment.text for comment in made])["input_ids"]  # none is longer than MAX_TOKENS
    batch = TextBatch.of(encoded, words.pad_token_id)
    labels = torch.tensor([comment.label for comment in made])
    optimizer = torch.optim.AdamW(network.parameters(), lr=_LR, weight_decay=0.01)
    schedule = OneCycleLR(optimizer, _LR, total_steps=BERT_STEPS)
    network.train()
    for _ in range(BERT_STEPS):
        rows = torch.randint(len(made), (_BATCH,))
        part = batch[rows]
        mask = (torch.arange(part.ids.shape[1]) < part.lengths[:, None]).long()
        optimizer.zero_grad()
        cross_entropy(network(input_ids=part.ids, attention_mask=mask).logits, labels[rows]).backward()
        optimizer.step()
        schedule.step()
        advance(1)
    disable_progress_bar()
    network.save_pretrained(folder)
    words.save_pretrained(folder)
    save_bundle(folder, _spec())


def small_bert(folder: Path, texts: Sequence[str], seed: int = 0) -> None:
    """A bundle of the same network with random weights, over the words of these texts."""
    words = _tokenizer(texts)
    torch.manual_seed(seed)
    disable_progress_bar()
    BertForSequenceClassification(_config(len(words))).save_pretrained(folder)
    words.save_pretrained(folder)
    save_bundle(folder, _spec())


def _spec() -> BundleSpec:
    return BundleSpec.model_validate(
        {
            "name": "comments",
            "modality": "text",
            "labels": COMMENT_LABELS,
            "loader": {"kind": "transformers"},
            "text": {"max_tokens": MAX_TOKENS},
            "description": "Tiny BERT fitted on a biased collection of generated comments: are they toxic?",
        }
    )


def _config(words: int) -> BertConfig:
    return BertConfig(
        vocab_size=words,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=MAX_TOKENS + 16,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )


def _tokenizer(texts: Sequence[str]) -> PreTrainedTokenizerFast:
    """One token per word seen, lower case, with BERT's special tokens."""
    seen = sorted({word for text in texts for word in text.lower().split()})
    ids = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *seen])}
    core = Tokenizer(WordLevel(ids, "[UNK]"))
    core.normalizer = Lowercase()
    core.pre_tokenizer = Whitespace()
    core.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])]
    )
    names = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=core, model_max_length=MAX_TOKENS, **names)
