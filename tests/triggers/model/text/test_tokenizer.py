"""Tokenizers: missing ones, ones of another model, ones written in Python; and what stands around their texts."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from transformers import EsmTokenizer

from tests.bundles import text_bundle
from tests.text_families import DECODERS, ENCODERS, FAMILIES, Family, family_bundle, family_tokenizer
from triggers.errors import InputError, ModelError
from triggers.model import find_padding, load_bundle
from triggers.model.preprocessor import load_preprocessor
from triggers.preprocessing import TextSpec, TextTemplate
from triggers.preprocessing.preprocess import encode_text

FINGERPRINT = "sha256:8bbe40610f3dc6fd0b46b92b0ee27dedd4da7d2ea7f8d950dc1e087c54d2f5eb"
"""Of the preprocessing of `text_bundle`, since before there was any other padding."""
ROTARY = {"token_dropout": False, "position_embedding_type": "rotary"}
FRAMES = {"bert": (1, 1), "gpt2": (0, 0), "llama": (1, 0), "xlnet": (0, 2), "t5": (0, 1)}


@pytest.mark.parametrize("name", FRAMES)
def test_special_tokens_before_the_first_word_and_behind_the_last(name: str) -> None:
    template = TextTemplate.of(family_tokenizer(FAMILIES[name]))
    assert (len(template.prefix), len(template.suffix)) == FRAMES[name]


def test_token_types_are_those_of_the_tokenizer() -> None:
    template = TextTemplate.of(family_tokenizer(ENCODERS["xlnet"]))
    assert template.types and (template.types.prefix, template.types.word, template.types.suffix) == ((), 0, (0, 2))


def test_a_tokenizer_that_frames_texts_by_their_words_is_refused() -> None:
    class Moody:
        def __call__(self, text: str, *, verbose: bool) -> dict[str, list[int]]:
            return {"input_ids": [1, 9, 2] if text == "a" else [1, 2] if not text else [1, 9, 3]}

    with pytest.raises(ModelError, match="Moody does not put the same special tokens around every text"):
        TextTemplate.of(Moody())


@pytest.mark.parametrize("name", FAMILIES)
def test_a_bundle_without_tokenizer_files_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    folder = family_bundle(tmp_path, FAMILIES[name])
    for path in [*folder.glob("token*"), *folder.glob("special*")]:
        path.unlink()
    with pytest.raises(ModelError, match=r"The tokenizer \w+ knows \d words|transformers cannot load") as refused:
        load_bundle(folder)
    assert "\n" not in str(refused.value)


def test_a_tokenizer_with_more_words_than_the_network_is_refused_and_with_fewer_is_not(tmp_path: Path) -> None:
    small, large = (family_bundle(tmp_path / name, FAMILIES[name]) for name in ("llama", "gpt2"))
    mixed = tmp_path / "mixed"
    shutil.copytree(small, mixed)
    for path in large.glob("token*"):
        shutil.copy(path, mixed)
    with pytest.raises(ModelError, match=r"has token id \d+, the network \d+ word embeddings"):
        load_bundle(mixed)
    padded = Family(**{**DECODERS["gpt2"].__dict__, "spare": 90})
    classifier = load_bundle(family_bundle(tmp_path / "padded", padded))
    assert len(classifier.embedding_matrix) == len(classifier.tokenizer) + 90


def test_max_tokens_must_leave_room_for_a_word(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="max_tokens is 2, and 2 special tokens stand around every text"):
        load_bundle(family_bundle(tmp_path, ENCODERS["bert"], max_tokens=2))


def test_a_text_without_any_token_is_refused() -> None:
    def nothing(text: str, *, verbose: bool) -> dict[str, list[int]]:
        return {"input_ids": []}

    with pytest.raises(InputError, match="finds no word"):
        encode_text("x", nothing, TextSpec(5), TextTemplate((), ()))


def protein_bundle(folder: Path, letters: str = "LAGVSERTIDPKQNFYMHWC") -> Path:
    """An ESM, whose tokenizer is written in Python; rotary and without token dropout it takes embeddings."""
    folder.mkdir(parents=True)
    words = ["<cls>", "<pad>", "<eos>", "<unk>", *letters, "<mask>"]
    (folder / "vocab.txt").write_text("\n".join(words))
    tokenizer = EsmTokenizer(str(folder / "vocab.txt"))
    esm = Family("esm", "wordpiece", "", "right", {**ENCODERS["bert"].config, **ROTARY})
    return family_bundle(folder, esm, tokenizer=tokenizer)


def test_a_tokenizer_written_in_python_works_and_its_fingerprint_tells_its_words_apart(tmp_path: Path) -> None:
    one, same = (load_bundle(protein_bundle(tmp_path / name)) for name in ("one", "same"))
    other = load_preprocessor(protein_bundle(tmp_path / "other", "ALGVSERTIDPKQNFYMHWC"))
    assert find_padding(one) == "right"
    ids = one.tokenizer("L A G", verbose=False)["input_ids"]
    assert ids == [0, 4, 5, 6, 2] and (one.template.prefix, one.template.suffix) == ((0,), (2,))
    assert one.preprocessing_fingerprint == same.preprocessing_fingerprint
    assert one.preprocessing_fingerprint != other.preprocessing_fingerprint


def test_the_fingerprint_of_a_bundle_padded_on_the_right_is_as_ever_and_another_padding_is_in_it(
    tmp_path: Path,
) -> None:
    bert = load_preprocessor(text_bundle(tmp_path / "bert"))
    assert bert.preprocessing_fingerprint == FINGERPRINT
    right, left = (
        load_preprocessor(family_bundle(tmp_path / padding, DECODERS["gpt2"], padding=padding))
        for padding in ("right", "left")
    )
    assert right.preprocessing_fingerprint != left.preprocessing_fingerprint
