"""Text classifiers of many families of `transformers`, each compared with `transformers.pipeline` on odd texts.

python -m tests.soak.text_matrix [FAMILY ...]     prints the table
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor
from transformers import pipeline

from tests.text_families import (
    BERT,
    DECODER,
    DECODERS,
    ENCODERS,
    NONE,
    POSITIONS,
    REFUSED,
    ROBERTA,
    SMALL,
    Family,
    family_bundle,
    odd_texts,
)
from triggers.errors import ModelError
from triggers.model import FrozenClassifier, find_padding, load_bundle, scores
from triggers.model.reprogram import reprogram
from triggers.preprocessing import Padding

TEXTS, BATCH = 200, 32

GPT: Mapping[str, Any] = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": POSITIONS, "initializer_range": 0.3}
XLM: Mapping[str, Any] = {"emb_dim": 32, "n_layers": 2, "n_heads": 2, "init_std": 0.3, "embed_init_std": 0.3}
MOBILE: Mapping[str, Any] = {
    **SMALL,
    "embedding_size": 16,
    "intra_bottleneck_size": 16,
    "num_feedforward_networks": 2,
    "initializer_range": 0.2,  # without norms, larger weights blow rounding up
}
MOE: Mapping[str, Any] = {"num_local_experts": 2, "num_experts_per_tok": 1}
CONFIGURATIONS: Mapping[str, Family] = {
    **ENCODERS,
    **DECODERS,
    **REFUSED,
    "electra": Family("electra", "wordpiece", BERT, "right", {**SMALL, "embedding_size": 16}),
    "mpnet": Family("mpnet", "wordpiece", ROBERTA, "right"),
    "mobilebert": Family(
        "mobilebert",
        "wordpiece",
        BERT,
        "right",
        MOBILE,
    ),
    "mobilebert trained": Family(
        "mobilebert",
        "wordpiece",
        BERT,
        "none",
        MOBILE,
    ),
    "squeezebert": Family("squeezebert", "wordpiece", BERT, "right", {**SMALL, "embedding_size": 32}),
    "convbert": Family("convbert", "wordpiece", BERT, "none", {**SMALL, "embedding_size": 32, "conv_kernel_size": 3}),
    "rembert": Family("rembert", "unigram", BERT, "right", {**SMALL, "input_embedding_size": 16}),
    "big_bird": Family("big_bird", "unigram", BERT, "right", {**SMALL, "attention_type": "original_full"}),
    "big_bird sparse": Family("big_bird", "unigram", BERT, None, {**SMALL, "block_size": 8, "num_random_blocks": 1}),
    "nystromformer": Family("nystromformer", "unigram", BERT, "none"),
    "roformer": Family("roformer", "wordpiece", BERT, "right"),
    "ernie": Family("ernie", "wordpiece", BERT, "right"),
    "megatron-bert": Family("megatron-bert", "wordpiece", BERT, "right"),
    "modernbert": Family(
        "modernbert", "byte_bpe", BERT, "right", {**SMALL, "local_attention": 16, "initializer_cutoff_factor": 3.0}
    ),
    "deberta": Family(
        "deberta",
        "byte_bpe",
        BERT,
        "right",
        {**SMALL, "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "max_relative_positions": POSITIONS},
    ),
    "xlm-roberta": Family("xlm-roberta", "unigram", ROBERTA, "right"),
    "camembert": Family("camembert", "unigram", ROBERTA, "right"),
    "data2vec-text": Family("data2vec-text", "byte_bpe", ROBERTA, "right"),
    "roberta-prelayernorm": Family("roberta-prelayernorm", "byte_bpe", ROBERTA, "right"),
    "esm rotary": Family(
        "esm", "wordpiece", BERT, "right", {**SMALL, "position_embedding_type": "rotary", "token_dropout": False}
    ),
    "esm absolute": Family("esm", "wordpiece", BERT, None),
    "xlm": Family("xlm", "wordpiece", ROBERTA, "right", XLM),
    "flaubert": Family("flaubert", "wordpiece", ROBERTA, "right", XLM),
    "funnel": Family(
        "funnel",
        "wordpiece",
        BERT,
        "right",
        {"d_model": 32, "n_head": 2, "d_head": 16, "d_inner": 64, "block_sizes": [1, 1], "initializer_std": 0.3},
    ),
    "yoso": Family("yoso", "unigram", BERT, "none", {**SMALL, "use_expectation": True}),
    "canine": Family("canine", "wordpiece", BERT, None, {**SMALL, "num_hash_buckets": 64}),
    "bloom": Family(
        "bloom",
        "byte_bpe",
        NONE,
        "left",
        {"hidden_size": 32, "n_layer": 2, "n_head": 2, "initializer_range": 0.3},
        pad=False,
    ),
    "opt": Family(
        "opt",
        "byte_bpe",
        "</s> $A",
        "left",
        {**SMALL, "ffn_dim": 64, "word_embed_proj_dim": 16},
    ),
    "gpt_neo": Family(
        "gpt_neo",
        "byte_bpe",
        NONE,
        "left",
        {"hidden_size": 32, "num_layers": 2, "num_heads": 2, "attention_types": [[["global", "local"], 1]]}
        | {"max_position_embeddings": POSITIONS, "window_size": 16, "initializer_range": 0.3},
        pad=False,
    ),
    "gptj": Family("gptj", "byte_bpe", NONE, "left", {**GPT, "rotary_dim": 8}, pad=False),
    "openai-gpt": Family("openai-gpt", "wordpiece", NONE, "left", GPT, pad=False),
    "ctrl": Family(
        "ctrl",
        "wordpiece",
        NONE,
        "left",
        {"n_embd": 32, "n_layer": 2, "n_head": 2, "dff": 64, "n_positions": POSITIONS, "initializer_range": 0.3},
    ),
    "gpt_bigcode": Family("gpt_bigcode", "byte_bpe", NONE, "left", GPT, pad=False),
    "gpt_neox": Family("gpt_neox", "byte_bpe", NONE, "left", pad=False),
    "biogpt": Family("biogpt", "wordpiece", "</s> $A", "left"),
    "falcon": Family("falcon", "byte_bpe", NONE, "left", {**SMALL, "alibi": False, "multi_query": True}, pad=False),
    "falcon alibi": Family("falcon", "byte_bpe", NONE, "left", {**SMALL, "alibi": True}, pad=False),
    "mpt": Family(
        "mpt", "byte_bpe", NONE, "left", {"d_model": 32, "n_layers": 2, "n_heads": 2, "initializer_range": 0.3}
    ),
    "phi": Family("phi", "byte_bpe", NONE, "left", DECODER, pad=False),
    "phi3": Family("phi3", "unigram", "<s> $A", "left", DECODER),
    "qwen3": Family("qwen3", "byte_bpe", NONE, "left", DECODER),
    "stablelm": Family("stablelm", "byte_bpe", NONE, "left", DECODER, pad=False),
    "gemma": Family("gemma", "unigram", "<s> $A", "left", DECODER),
    "gemma2": Family("gemma2", "unigram", "<s> $A", "left", {**DECODER, "sliding_window": 16}),
    "starcoder2": Family("starcoder2", "byte_bpe", NONE, "left", DECODER, pad=False),
    "mistral sliding": Family("mistral", "unigram", "<s> $A", "left", {**DECODER, "sliding_window": 8}, pad=False),
    "mixtral": Family("mixtral", "unigram", "<s> $A", "left", {**DECODER, **MOE}, pad=False),
    "smollm3": Family("smollm3", "byte_bpe", NONE, "left", DECODER),
    "persimmon": Family("persimmon", "unigram", "<s> $A", "left", SMALL),
    "reformer": Family(
        "reformer",
        "unigram",
        NONE,
        "right",
        {"hidden_size": 32, "num_attention_heads": 2, "attention_head_size": 16, "feed_forward_size": 64}
        | {"axial_pos_embds": False, "attn_layers": ["local", "local"], "max_position_embeddings": POSITIONS}
        | {"initializer_range": 0.3},
    ),
    "mbart": Family("mbart", "unigram", "$A </s>", None, REFUSED["bart"].config),
}
"""At least one configuration of every family with a text classification head that people use."""


@dataclass(frozen=True)
class Outcome:
    """What became of one configuration: its padding, or the line in which it was refused."""

    name: str
    padding: Padding | None
    refusal: str = ""
    alone: float = 0.0
    mixed: float = 0.0
    flips: int = 0
    spread: float = 0.0
    """Standard deviation of the pipeline's scores between texts: without one, agreement says nothing."""

    def row(self) -> str:
        """A row of the table."""
        if self.refusal:
            return f"| {self.name} | refused | {self.refusal} ||||"
        return (
            f"| {self.name} | {self.padding} | {self.alone:.1e} | {self.mixed:.1e} | {self.flips} | {self.spread:.2f} |"
        )


HEADER = (
    "| family | padding | largest difference alone | in mixed batches | flips | spread |\n|---|---|---|---|---|---|"
)


def compare(name: str, folder: Path) -> Outcome:
    """Build one configuration, find its padding, and compare its scores with the pipeline's on TEXTS texts."""
    family = CONFIGURATIONS[name]
    texts = odd_texts(TEXTS)
    try:
        bundle = family_bundle(folder / "probed", family, padding="right", change=CHANGES.get(name))
        padding = find_padding(load_bundle(bundle))
    except ModelError as error:
        return Outcome(name, None, str(error))
    classifier = load_bundle(family_bundle(folder / "served", family, padding=padding, change=CHANGES.get(name)))
    wanted = _piped(folder / "served", classifier, texts)
    alone = torch.cat([_scores(classifier, [text]) for text in texts])
    mixed = torch.empty_like(alone)
    for rows in _companies():
        mixed[rows] = _scores(classifier, [texts[row] for row in rows])
    flips = sum(int((found.argmax(dim=1) != wanted.argmax(dim=1)).sum()) for found in (alone, mixed))
    differences = [float((found - wanted).abs().max()) for found in (alone, mixed)]
    return Outcome(name, padding, "", differences[0], differences[1], flips, float(wanted.std(dim=0).min()))


def outcomes(names: Iterable[str] = CONFIGURATIONS) -> Iterator[Outcome]:
    """The outcome of each configuration."""
    for name in names:
        with TemporaryDirectory() as folder:
            yield compare(name, Path(folder))


def _piped(folder: Path, classifier: FrozenClassifier, texts: list[str]) -> Tensor:
    """Scores (N, labels) of the source's own pipeline, one text at a time."""
    run = pipeline("text-classification", model=str(folder))
    rows = [{one["label"]: one["score"] for one in run(text, top_k=None)} for text in texts]
    return torch.tensor([[row[label] for label in classifier.labels] for row in rows])


def _scores(classifier: FrozenClassifier, texts: list[str]) -> Tensor:
    batch = classifier.batch([classifier.preprocess(text) for text in texts])
    bank, index = classifier.bank([classifier.null_trigger()]), torch.zeros(len(texts), dtype=torch.long)
    with torch.no_grad():
        return scores(reprogram(classifier, batch, bank, index))


def _companies() -> Iterator[list[int]]:
    order = list(range(TEXTS))
    random.Random(1).shuffle(order)
    yield from (order[start : start + BATCH] for start in range(0, TEXTS, BATCH))


def _fill_padding(network: Any) -> None:
    """Give the padding token an embedding, as training from another initialisation may."""
    embedding = network.get_input_embeddings()
    with torch.no_grad():
        embedding.weight[embedding.padding_idx or 0] = embedding.weight[7]


CHANGES = {"mobilebert trained": _fill_padding}


if __name__ == "__main__":
    print(HEADER, flush=True)
    for outcome in outcomes(sys.argv[1:] or CONFIGURATIONS):
        print(outcome.row(), flush=True)
