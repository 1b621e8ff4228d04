"""Configuration to trainable triggers: kinds, counts, allowed words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.bundles import tokenizer
from tests.text_families import DECODERS, family_bundle
from tests.trainer.runs import run_config
from trainer.config.run_config import ObjectiveConfig, TriggerConfig
from trainer.training.build_module import allowed_words, build_module
from triggers.errors import ConfigError
from triggers.model import FrozenClassifier, load_bundle
from triggers.model.text.vocabulary import Vocabulary

VOCABULARY = Vocabulary.of(tokenizer(), len(tokenizer()))
THREE = ObjectiveConfig(strengths=(1.0, 2.0, 3.0))


@pytest.mark.parametrize(
    "trigger",
    [
        TriggerConfig("overlay"),
        TriggerConfig("border", width=2),
        TriggerConfig("patch", patch_size=5, corner="bottom_right"),
        TriggerConfig("pixels", fraction=0.2),
    ],
    ids=lambda trigger: trigger.kind,
)
def test_image_kinds(digits_classifier: FrozenClassifier, trigger: TriggerConfig) -> None:
    made = build_module(run_config(THREE, trigger=trigger), digits_classifier).export()
    assert [made_one.kind for made_one in made] == [trigger.kind] * 3
    assert torch.equal(made[0].delta, made[2].delta)  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", ["hard", "soft", "embedding"])
def test_text_kinds(comments_classifier: FrozenClassifier, kind: str) -> None:
    trigger = TriggerConfig(kind, tokens=4, position="before_sep")  # type: ignore[arg-type]
    made = build_module(run_config(THREE, trigger=trigger), comments_classifier).export()
    assert [made_one.kind for made_one in made] == [kind] * 3
    assert made[0].embeddings.shape == (4, 32)  # type: ignore[union-attr]
    assert made[0].position == "before_sep"  # type: ignore[union-attr]


def test_a_kind_of_the_other_modality_is_refused(comments_classifier: FrozenClassifier) -> None:
    with pytest.raises(ConfigError, match=r"overlay trigger works on images, 'comments' reads texts"):
        build_module(run_config(THREE), comments_classifier)


def test_which_words_are_allowed(tmp_path: Path) -> None:
    listed = tmp_path / "words.txt"
    listed.write_text("cruel\n##b\n")

    def found(**options: Any) -> list[str]:
        mask = allowed_words(TriggerConfig("hard", **options), VOCABULARY)
        return [word for word, allowed in zip(VOCABULARY.words, mask.tolist(), strict=True) if allowed]

    assert found(allowed_words_file=listed) == ["cruel", "##b"]
    whole, every = found(), found(allowed_words="any")
    assert {"cruel", "kind", "b"} <= set(whole) and all(word.isalpha() for word in whole)
    assert set(every) == {*VOCABULARY.words} - {"[PAD]", "[UNK]", "[CLS]", "[SEP]"}


def test_a_listed_word_that_is_no_token_is_refused(tmp_path: Path) -> None:
    listed = tmp_path / "words.txt"
    listed.write_text("kind\nkindly\n")
    with pytest.raises(ConfigError, match="such as kindly"):
        allowed_words(TriggerConfig("hard", allowed_words_file=listed), VOCABULARY)


def test_a_missing_word_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="allowed_words_file"):
        allowed_words(TriggerConfig("hard", allowed_words_file=tmp_path / "none.txt"), VOCABULARY)


def test_a_trigger_that_does_not_fit_the_model_is_refused_before_the_first_step(tmp_path: Path) -> None:
    gpt2 = load_bundle(family_bundle(tmp_path / "gpt2", DECODERS["gpt2"]))
    with pytest.raises(ConfigError, match=r"need 300 positions, the network has 256: lower text.max_tokens to 156"):
        build_module(run_config(THREE, trigger=TriggerConfig("hard", tokens=100)), gpt2)
    build_module(run_config(THREE, trigger=TriggerConfig("hard", tokens=56)), gpt2)
    with pytest.raises(ConfigError, match=r"as_published trigger: it reads the last position"):
        build_module(run_config(THREE, trigger=TriggerConfig("hard", position="as_published")), gpt2)
