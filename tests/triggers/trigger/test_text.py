"""Where trigger words go: compared with the real model run on the same words typed into the text."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.bundles import text_bundle
from triggers.errors import ArtifactCorrupt
from triggers.model import FrozenClassifier, load_bundle
from triggers.model.reprogram import reprogram
from triggers.trigger.text import Position, TextTrigger

WORDS = ["dog", "cat", "house"]
TEXTS = ["the man said", "a very nice young woman went and saw the old city", "good"]


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> FrozenClassifier:
    return load_bundle(text_bundle(tmp_path_factory.mktemp("posts")))


def trigger(classifier: FrozenClassifier, position: Position, words: list[str] | None = None) -> TextTrigger:
    ids = classifier.tokenizer.convert_tokens_to_ids(WORDS if words is None else words)
    return TextTrigger("hard", position, classifier.embedding_matrix[ids].clone(), tuple(ids), tuple(WORDS[: len(ids)]))


def typed(classifier: FrozenClassifier, text: str) -> torch.Tensor:
    """Logits of the untouched Hugging Face model on a plain string."""
    encoded = classifier.tokenizer(text, return_tensors="pt", return_token_type_ids=False)
    with torch.no_grad():
        logits: torch.Tensor = classifier.network(**encoded).logits[0]
    return logits


def logits(
    classifier: FrozenClassifier, triggers: list[TextTrigger], index: list[int], texts: list[str]
) -> torch.Tensor:
    batch = classifier.batch([classifier.preprocess(text) for text in texts])
    with torch.no_grad():
        return reprogram(classifier, batch, classifier.bank(triggers), torch.tensor(index))


@pytest.mark.parametrize("text", TEXTS)
def test_positions_equal_the_same_words_typed_there(classifier: FrozenClassifier, text: str) -> None:
    bank = [trigger(classifier, "after_cls"), trigger(classifier, "before_sep"), TextTrigger.none(32)]
    made = logits(classifier, bank, [0, 1, 2], [text] * 3)
    joined = " ".join(WORDS)
    for row, wanted in enumerate([f"{joined} {text}", f"{text} {joined}", text]):
        assert torch.allclose(made[row], typed(classifier, wanted), atol=1e-5)


@pytest.mark.parametrize("text", TEXTS)
def test_as_published_reads_out_at_the_first_trigger_word(classifier: FrozenClassifier, text: str) -> None:
    network: Any = classifier.network
    encoded = classifier.tokenizer(f"{text} {' '.join(WORDS)}", return_tensors="pt", return_token_type_ids=False)
    with torch.no_grad():
        states = network.bert(**encoded).last_hidden_state[0]
        pooled = torch.tanh(network.bert.pooler.dense(states[-1 - len(WORDS)]))
        wanted = network.classifier(pooled)
    made = logits(classifier, [trigger(classifier, "as_published")], [0], [text])[0]
    assert torch.allclose(made, wanted, atol=1e-5)
    assert not torch.allclose(made, typed(classifier, f"{text} {' '.join(WORDS)}"), atol=1e-2)


def test_mixed_rows_equal_single_rows(classifier: FrozenClassifier) -> None:
    bank = [
        TextTrigger.none(32),
        trigger(classifier, "after_cls"),
        trigger(classifier, "before_sep", ["sun", "tree", "boy", "girl", "sings"]),
        trigger(classifier, "as_published"),
        trigger(classifier, "before_sep", ["sun"]),
    ]
    index = [v for v in range(len(bank)) for _ in TEXTS]
    texts = TEXTS * len(bank)
    mixed = logits(classifier, bank, index, texts)
    for row, (v, text) in enumerate(zip(index, texts, strict=True)):
        alone = logits(classifier, [bank[v]], [0], [text])[0]
        assert torch.allclose(mixed[row], alone, atol=1e-5), (v, text)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"kind": "words"}, "Unknown text trigger"),
        ({"position": "middle"}, "Unknown text trigger"),
        ({"embeddings": torch.zeros(3)}, "matrix"),
        ({"embeddings": torch.full((3, 4), torch.inf)}, "NaN or infinite"),
        ({"embeddings": torch.zeros(0, 4)}, "makes no sense"),
        ({"token_ids": None}, "token ids"),
        ({"token_ids": (1, 2)}, "2 entries for 3"),
    ],
)
def test_validate_names_what_is_wrong(change: dict[str, Any], reason: str) -> None:
    good: dict[str, Any] = {
        "kind": "hard",
        "position": "after_cls",
        "embeddings": torch.zeros(3, 4),
        "token_ids": (5, 6, 7),
        "words": ("a", "b", "c"),
    }
    TextTrigger(**good).validate()
    with pytest.raises(ArtifactCorrupt, match=reason):
        TextTrigger(**(good | change)).validate()
