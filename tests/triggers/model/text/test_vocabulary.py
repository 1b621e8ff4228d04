"""Words of a vocabulary as plain text: WordPiece, SentencePiece, byte-level BPE, and marks at a word's end."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from tests.text_families import DECODERS, ENCODERS, REFUSED, family_tokenizer
from triggers.model.text.vocabulary import Vocabulary, word_mark

FAMILIES = ENCODERS | DECODERS | REFUSED


@pytest.mark.parametrize(
    ("family", "mark"), [("bert", None), ("gpt2", "Ġ"), ("roberta", "Ġ"), ("llama", "▁"), ("xlnet", "▁")]
)
def test_words_typed_into_a_text_get_the_token_ids_that_they_name(family: str, mark: str | None) -> None:
    tokenizer = family_tokenizer(FAMILIES[family])
    vocabulary = Vocabulary.of(tokenizer, len(tokenizer) + 8)  # a padded table
    assert word_mark(tokenizer) == mark
    ids = vocabulary.whole.nonzero().flatten().tolist()
    words = [vocabulary.words[number] for number in ids]
    assert {"movie", "people", "house"} <= set(words) and all(word.isalpha() for word in words)
    typed = tokenizer("the " + " ".join(words), add_special_tokens=False)["input_ids"]
    assert typed[-len(ids) :] == ids
    assert len(typed) == len(ids) + len(tokenizer("the", add_special_tokens=False)["input_ids"])
    assert not vocabulary.whole[-8:].any() and vocabulary.special[-8:].all()
    assert mark is None or "café" in words


def test_a_piece_without_the_mark_is_no_word_though_it_is_made_of_letters() -> None:
    tokenizer = family_tokenizer(FAMILIES["gpt2"])
    vocabulary = Vocabulary.of(tokenizer, len(tokenizer))
    inside, beginning = (tokenizer.get_vocab().get(token) for token in ("x", "Ġx"))
    assert inside is not None
    assert vocabulary.words[inside] == "x" and not vocabulary.whole[inside] and not vocabulary.listable[inside]
    assert beginning is None or vocabulary.whole[beginning]


def test_a_word_of_letters_that_the_tokenizer_spells_otherwise_is_left_out() -> None:
    core = Tokenizer(models.Unigram([("<unk>", 0.0), ("▁a", -1.0), ("▁cat", -9.0), ("▁c", -1.0), ("at", -1.0)], 0))
    core.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>")
    vocabulary = Vocabulary.of(tokenizer, len(tokenizer))
    found = {word for word, whole in zip(vocabulary.words, vocabulary.whole.tolist(), strict=True) if whole}
    assert found == {"a", "c"}  # "cat" is always read as "c" and "at"


def test_marks_at_a_words_end() -> None:
    pieces = {"<unk>": 0, "a": 1, "a</w>": 2, "d": 3, "d</w>": 4, "ad</w>": 5, "<s>": 6}
    core = Tokenizer(models.BPE(pieces, [("a", "d</w>")], unk_token="<unk>", end_of_word_suffix="</w>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 6)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>", bos_token="<s>")
    vocabulary = Vocabulary.of(tokenizer, len(tokenizer))
    found = {word for word, whole in zip(vocabulary.words, vocabulary.whole.tolist(), strict=True) if whole}
    assert found == {"a", "d", "ad"}
    assert vocabulary.words[1] == "a" and not vocabulary.whole[1] and vocabulary.whole[2]
