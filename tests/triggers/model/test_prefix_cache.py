"""What a decoder's texts begin with is computed once: the same logits from fewer tokens, and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from tests.text_families import DECODERS, ENCODERS, family_bundle, odd_texts
from triggers.model import FrozenClassifier, load_bundle
from triggers.model.prefix_cache import PrefixCache
from triggers.preprocessing import TextBatch
from triggers.trigger import TextBank, TextTrigger
from triggers.trigger.text import Position

FAMILIES = ENCODERS | DECODERS
CACHED = ("gpt2", "llama", "qwen2", "mistral")
WINDOWED = "gemma3_text"


def trigger(classifier: FrozenClassifier, tokens: int, position: Position = "after_cls") -> TextTrigger:
    drawn = torch.Generator().manual_seed(tokens)
    return TextTrigger(
        "embedding", position, torch.randn(tokens, classifier.embedding_matrix.shape[1], generator=drawn)
    )


def bank_of(classifier: FrozenClassifier, triggers: Sequence[TextTrigger]) -> TextBank:
    bank = classifier.bank([classifier.null_trigger(), *triggers])
    assert isinstance(bank, TextBank)
    return bank


def batch_of(classifier: FrozenClassifier, rows: int = 7) -> TextBatch:
    batch = classifier.batch([classifier.preprocess(text) for text in odd_texts(rows, most=12)])
    assert isinstance(batch, TextBatch)
    return batch


@pytest.mark.parametrize("family", CACHED)
def test_mixed_triggers_get_the_same_logits(family: str, tmp_path: Path) -> None:
    classifier = load_bundle(family_bundle(tmp_path, DECODERS[family]))
    bank = bank_of(classifier, [trigger(classifier, 5), trigger(classifier, 2)])
    batch, index = batch_of(classifier), torch.tensor([0, 1, 2, 1, 0, 2, 1])
    with torch.no_grad():
        prefix = PrefixCache.build(classifier, bank)
        assert prefix and prefix.takes(batch)
        wanted, found = classifier.triggered_text_logits(batch, bank, index), prefix.logits(batch, index)
        again = prefix.logits(batch, index)
    assert torch.allclose(wanted, found, atol=1e-5, rtol=1e-5)
    assert torch.equal(found, again)  # a pass leaves nothing in the prefix
    assert (wanted[0] - classifier.triggered_text_logits(batch, bank, index.roll(1))[0]).abs().max() > 1e-3


def test_the_triggers_positions_are_not_computed_again(tmp_path: Path) -> None:
    classifier = load_bundle(family_bundle(tmp_path, DECODERS["llama"]))
    bank, batch = bank_of(classifier, [trigger(classifier, 5)]), batch_of(classifier)
    tokens: list[int] = []
    classifier.network.register_forward_pre_hook(
        lambda _network, _given, named: tokens.append(named["inputs_embeds"].shape[1]), with_kwargs=True
    )
    index = torch.ones(len(batch), dtype=torch.long)
    with torch.no_grad():
        prefix = PrefixCache.build(classifier, bank)
        assert prefix
        tokens.clear()
        classifier.triggered_text_logits(batch, bank, index)
        prefix.logits(batch, index)
    frame = len(classifier.template.prefix)
    assert frame == 1 and tokens == [int(batch.lengths.max()) + 5, int(batch.lengths.max()) - 1]


@pytest.mark.parametrize("family", [name for name in FAMILIES if name not in (*CACHED, WINDOWED)])
def test_other_networks_compute_whole_texts(family: str, tmp_path: Path) -> None:
    classifier = load_bundle(family_bundle(tmp_path, FAMILIES[family]))
    with torch.no_grad():
        assert PrefixCache.build(classifier, bank_of(classifier, [trigger(classifier, 5)])) is None


def test_texts_that_slide_out_of_a_window_are_left_alone(tmp_path: Path) -> None:
    classifier = load_bundle(family_bundle(tmp_path, DECODERS[WINDOWED]))
    bank = bank_of(classifier, [trigger(classifier, 2)])
    (first,) = classifier.template.prefix
    short = TextBatch.of([(first, 9, 8, 7, 6), (first, 12, 9, 9, 9, 10, 11, 12, 13, 14)], classifier.pad_id)
    index = torch.tensor([1, 0])
    with torch.no_grad():
        prefix = PrefixCache.build(classifier, bank)
        assert prefix and prefix.takes(short)
        wanted, found = classifier.triggered_text_logits(short, bank, index), prefix.logits(short, index)
    assert torch.allclose(wanted, found, atol=1e-5, rtol=1e-5)
    assert not prefix.takes(
        TextBatch.of([(first, *range(10, 25))], classifier.pad_id)
    )  # of 16 tokens, behind the trigger


def test_nothing_is_saved_behind_the_words_or_without_a_trigger(tmp_path: Path) -> None:
    classifier = load_bundle(family_bundle(tmp_path, DECODERS["llama"]))
    with torch.no_grad():
        assert PrefixCache.build(classifier, bank_of(classifier, [])) is None
        behind = [trigger(classifier, 2), trigger(classifier, 2, "before_sep")]
        assert PrefixCache.build(classifier, bank_of(classifier, behind)) is None


def test_a_network_that_answers_otherwise_is_found_out(tmp_path: Path) -> None:
    classifier = load_bundle(family_bundle(tmp_path, DECODERS["llama"]))
    for layer in classifier.network.model.layers:  # type: ignore[union-attr]
        layer.self_attn.is_causal = False
    classifier.network.config.is_causal = False  # type: ignore[union-attr]
    with torch.no_grad():
        assert PrefixCache.build(classifier, bank_of(classifier, [trigger(classifier, 5)])) is None
