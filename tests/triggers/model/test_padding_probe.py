"""The padding that is found for networks of many families, and networks that are exact under none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.text_families import DECODERS, ENCODERS, FAMILIES, REFUSED, Family, family_bundle, family_tokenizer
from triggers.errors import ModelError
from triggers.model import FrozenClassifier, check_padding, find_padding, load_bundle
from triggers.model.bundle import BundleSpec
from triggers.model.bundle_loader import read_bundle


@pytest.mark.parametrize("name", ENCODERS | DECODERS)
def test_the_padding_of_a_family_is_found_and_holds(name: str, tmp_path: Path) -> None:
    family = FAMILIES[name]
    classifier = read_bundle(family_bundle(tmp_path, family, padding="right")).classifier
    assert find_padding(classifier) == family.padding
    check = check_padding(load_bundle(family_bundle(tmp_path / "right", family)))
    assert check.padding == family.padding and check.difference < 1e-5 and not check.reason


@pytest.mark.parametrize(("name", "reason"), [("t5", "Not|not"), ("bart", "not"), ("longformer", "run on embeddings")])
def test_a_network_that_takes_no_embeddings_is_refused_in_one_line(name: str, reason: str, tmp_path: Path) -> None:
    classifier = read_bundle(family_bundle(tmp_path, REFUSED[name])).classifier
    with pytest.raises(ModelError, match=f"ForSequenceClassification cannot .*{reason}") as refused:
        find_padding(classifier)
    assert "\n" not in str(refused.value)


def test_a_decoder_said_to_be_padded_on_the_right_is_caught(tmp_path: Path) -> None:
    check = check_padding(read_bundle(family_bundle(tmp_path, DECODERS["gpt2"], padding="right")).classifier)
    assert check.difference > 0.1 and "differ from those of token ids alone" in check.reason


@pytest.mark.parametrize("scale", [0.02, 1e-3])
def test_networks_that_hardly_tell_texts_apart_are_judged_by_how_far_they_do(scale: float, tmp_path: Path) -> None:
    family = DECODERS["gpt2"]
    faint = Family(**{**family.__dict__, "config": {**family.config, "initializer_range": scale}})
    assert find_padding(load_bundle(family_bundle(tmp_path, faint))) == "left"


def test_a_narrow_checkpoint_is_probed_in_float32(tmp_path: Path) -> None:
    classifier = load_bundle(family_bundle(tmp_path, DECODERS["qwen2"]))
    narrow = FrozenClassifier(classifier.spec, classifier.network.bfloat16(), classifier.tokenizer)
    assert narrow.dtype == torch.bfloat16
    assert find_padding(narrow) == "left" and narrow.dtype == torch.bfloat16


class Averaged(nn.Module):
    """A network of one's own: embeddings averaged under the mask, or over all positions."""

    def __init__(self, rows: int, masked: bool) -> None:
        super().__init__()
        self.table, self.head, self.masked = nn.Embedding(rows, 8), nn.Linear(8, 2), masked

    def get_input_embeddings(self) -> nn.Embedding:
        return self.table

    def forward(self, inputs_embeds: Tensor, attention_mask: Tensor) -> Tensor:
        mask = attention_mask if self.masked else torch.ones_like(attention_mask)
        weights = mask.unsqueeze(2) / mask.sum(dim=1)[:, None, None]
        found: Tensor = self.head((inputs_embeds * weights).sum(dim=1))
        return found


@pytest.mark.parametrize(("masked", "padding"), [(True, "right"), (False, "none")])
def test_a_network_of_ones_own_is_compared_with_itself_alone(masked: bool, padding: str) -> None:
    words = family_tokenizer(ENCODERS["bert"])
    spec = {"name": "own", "modality": "text", "labels": ["a", "b"], "text": {"max_tokens": 100}}
    loader = {"kind": "factory", "target": "tests.bundles:tiny_network"}
    network = Averaged(len(words), masked)
    assert (
        find_padding(FrozenClassifier(BundleSpec.model_validate(spec | {"loader": loader}), network, words)) == padding
    )
