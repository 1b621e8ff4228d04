"""Tiny random text classifiers of many families of `transformers`, with tokenizers made on the spot."""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from tests.bundles import WORDS
from triggers.model.bundle import BundleSpec, save_bundle
from triggers.preprocessing import Padding

Scheme = Literal["wordpiece", "byte_bpe", "unigram"]

POSITIONS = 256
"""Positions of every tiny network that has a table of them."""
MAX_TOKENS = 200

SMALL: Mapping[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": POSITIONS,
    "initializer_range": 0.3,
}
NAMES: Mapping[str, Any] = {"id2label": {0: "civil", 1: "toxic"}, "label2id": {"civil": 0, "toxic": 1}}
DECODER: Mapping[str, Any] = {**SMALL, "num_key_value_heads": 1, "head_dim": 16}


@dataclass(frozen=True)
class Family:
    """One configuration: `transformers` model type, its tokenizer, and the padding it is exact under, if any."""

    model_type: str
    scheme: Scheme
    frame: str
    padding: Padding | None
    config: Mapping[str, Any] = field(default_factory=lambda: SMALL)
    pad: bool = True
    """Whether its configuration names a pad token, without which decoders of `transformers` refuse batches."""
    spare: int = 0
    """Word embeddings that the tokenizer has no words for."""


BERT, ROBERTA, NONE = "<cls> $A <sep>", "<s> $A </s>", "$A"
ENCODERS = {
    "bert": Family("bert", "wordpiece", BERT, "right"),
    "distilbert": Family(
        "distilbert",
        "wordpiece",
        BERT,
        "right",
        {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64, "max_position_embeddings": POSITIONS}
        | {"initializer_range": 0.3},
    ),
    "roberta": Family("roberta", "byte_bpe", ROBERTA, "right"),
    "albert": Family("albert", "unigram", BERT, "right", {**SMALL, "embedding_size": 16}),
    "deberta-v2": Family(
        "deberta-v2",
        "unigram",
        BERT,
        "right",
        {**SMALL, "relative_attention": True, "position_buckets": 16, "pos_att_type": ["p2c", "c2p"]}
        | {"position_biased_input": False, "share_att_key": True, "norm_rel_ebd": "layer_norm", "type_vocab_size": 0},
    ),
    "xlnet": Family(
        "xlnet",
        "unigram",
        "$A:0 <sep>:0 <cls>:2",
        "left",
        {"d_model": 32, "n_layer": 2, "n_head": 2, "d_inner": 64, "initializer_range": 0.3},
    ),
    "fnet": Family("fnet", "unigram", BERT, "none", {**SMALL, "type_vocab_size": 4}),
}
DECODERS = {
    "gpt2": Family(
        "gpt2",
        "byte_bpe",
        NONE,
        "left",
        {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": POSITIONS, "initializer_range": 0.3},
        pad=False,
    ),
    "llama": Family("llama", "unigram", "<s> $A", "left", DECODER, pad=False),
    "qwen2": Family("qwen2", "byte_bpe", NONE, "left", DECODER),
    "mistral": Family("mistral", "unigram", "<s> $A", "left", DECODER, pad=False),
    "gemma3_text": Family("gemma3_text", "unigram", "<s> $A", "left", {**DECODER, "sliding_window": 16}),
}
REFUSED = {
    "t5": Family(
        "t5",
        "unigram",
        "$A </s>",
        None,
        {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2} | {"decoder_start_token_id": 0},
    ),
    "bart": Family(
        "bart",
        "byte_bpe",
        ROBERTA,
        None,
        {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2}
        | {"decoder_attention_heads": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64}
        | {"max_position_embeddings": POSITIONS},
    ),
    "longformer": Family("longformer", "byte_bpe", ROBERTA, None, {**SMALL, "attention_window": 8}),
}
FAMILIES = ENCODERS | DECODERS | REFUSED


def family_bundle(
    folder: Path,
    family: Family,
    name: str = "posts",
    seed: int = 0,
    tokenizer: Any = None,
    change: Callable[[Any], None] | None = None,
    **text: Any,
) -> Path:
    """A bundle of a tiny random network of this family, changed by `change`; `text` goes into model.json's section."""
    transformers_logging.disable_progress_bar()
    words = tokenizer or family_tokenizer(family)
    ids = {f"{kind}_token_id": getattr(words, f"{kind}_token_id") for kind in ("bos", "eos")}
    pad = words.pad_token_id if family.pad else None
    config = AutoConfig.for_model(
        family.model_type, vocab_size=len(words) + family.spare, pad_token_id=pad, **NAMES, **family.config, **ids
    )
    torch.manual_seed(seed)
    network = AutoModelForSequenceClassification.from_config(config)
    if change:
        change(network)
    network.save_pretrained(folder)
    words.save_pretrained(folder)
    limit = {"max_tokens": MAX_TOKENS}
    if family.padding not in (None, "right"):
        limit["padding"] = family.padding  # type: ignore[assignment]
    spec = {"name": name, "modality": "text", "labels": ["civil", "toxic"], "loader": {"kind": "transformers"}}
    save_bundle(folder, BundleSpec.model_validate({**spec, "text": limit | text}))
    return folder


def family_tokenizer(family: Family) -> PreTrainedTokenizerFast:
    """A tokenizer of the family's scheme that puts its frame around every text."""
    core = Tokenizer.from_str(_trained(family.scheme, _PAD.get(family.model_type, 0)))
    specials = [(name, core.token_to_id(name)) for name in ("<cls>", "<sep>", "<s>", "</s>")]
    core.post_processor = processors.TemplateProcessing(single=family.frame, special_tokens=specials)
    names = {"unk_token": "<unk>", "pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}
    names |= {"cls_token": "<cls>", "sep_token": "<sep>"}
    given = ["input_ids", "attention_mask"]
    if family.scheme != "byte_bpe" and family.model_type not in _TYPELESS:
        given.insert(1, "token_type_ids")
    return PreTrainedTokenizerFast(tokenizer_object=core, model_max_length=MAX_TOKENS, model_input_names=given, **names)


_TYPELESS = {"distilbert", "llama", "mistral", "gemma3_text", "t5"}


_PAD = {"mpnet": 1}
"""The word that a network takes for padding, whatever its configuration says, if that is not the first."""


@lru_cache
def _trained(scheme: Scheme, pad: int) -> str:
    """A tokenizer as JSON."""
    specials = ["<unk>", "<cls>", "<sep>", "<s>", "</s>"]
    specials.insert(pad, "<pad>")
    corpus = odd_texts(400, seed=7)
    if scheme == "wordpiece":
        core = Tokenizer(models.WordPiece(unk_token="<unk>"))
        core.normalizer = normalizers.BertNormalizer()
        core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        core.train_from_iterator(corpus, trainers.WordPieceTrainer(vocab_size=300, special_tokens=specials))
    elif scheme == "byte_bpe":
        core = Tokenizer(models.BPE())
        core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        core.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        core.train_from_iterator(
            corpus, trainers.BpeTrainer(vocab_size=420, special_tokens=specials, initial_alphabet=alphabet)
        )
    else:
        words = [f"▁{word}" for word in dict.fromkeys([*WORDS, "café"])]
        letters = ["▁", *string.ascii_letters, *string.digits, *".,!?'"]
        pieces = [(name, 0.0) for name in specials] + [(word, -6.0) for word in words]
        core = Tokenizer(models.Unigram([*pieces, *((letter, -9.0) for letter in letters)], unk_id=1))
        core.pre_tokenizer = pre_tokenizers.Metaspace()
        core.decoder = decoders.Metaspace()
        core.add_special_tokens(specials)
    made: str = core.to_str()
    return made


def odd_texts(count: int, seed: int = 0, most: int = 40) -> list[str]:
    """Texts of one to `most` words, with odd marks, letters and capitals among them."""
    drawn = random.Random(seed)
    odd = ["don't", "WOW", "café", "naïve", "x", "42", "!!!", "e-mail", "ok?", "Ünal", "(sic)", "zzz", "3.14"]
    lengths = [1, 1, 2, 3, most, *(drawn.randint(1, most) for _ in range(count))][:count]
    return [" ".join(drawn.choice(odd if drawn.random() < 0.1 else WORDS) for _ in range(length)) for length in lengths]
