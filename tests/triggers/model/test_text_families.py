"""Text networks of many families: a text's logits are those of its token ids alone, whatever else is in its batch."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from tests.text_families import DECODERS, ENCODERS, family_bundle, odd_texts
from trainer.training.vjp import forward_with_vjp
from triggers.errors import ModelError
from triggers.model import FrozenClassifier, load_bundle, sweep
from triggers.model.reprogram import reprogram
from triggers.preprocessing import TextBatch
from triggers.trigger import TextTrigger
from triggers.trigger.text import Position, TextBank

FAMILIES = ENCODERS | DECODERS
TEXTS = odd_texts(40)


@pytest.fixture(scope="module", params=FAMILIES)
def classifier(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrozenClassifier]:
    name: str = request.param
    yield load_bundle(family_bundle(tmp_path_factory.mktemp(name), FAMILIES[name]))


def from_ids(classifier: FrozenClassifier, ids: tuple[int, ...], words: int) -> Tensor:
    """Logits of the untouched network on token ids alone; `words` of them are more than its tokenizer framed."""
    template = classifier.template
    given: dict[str, Any] = {"input_ids": torch.tensor([ids])}
    if classifier.spec.text and template.types:
        rest = len(ids) - template.tokens
        given["token_type_ids"] = torch.tensor(
            [[*template.types.prefix, *[template.types.word] * rest, *template.types.suffix]]
        )
    with torch.no_grad():
        logits: Tensor = classifier.network(**given).logits[0]
    return logits


def hard(classifier: FrozenClassifier, position: Position, ids: list[int]) -> TextTrigger:
    return TextTrigger("hard", position, classifier.embedding_matrix[ids].detach().clone(), tuple(ids), None)


def test_a_text_has_the_logits_of_its_token_ids_alone_in_any_company(classifier: FrozenClassifier) -> None:
    encoded = [classifier.tokenizer(text, return_tensors="pt") for text in TEXTS]
    with torch.no_grad():
        wanted = torch.cat([classifier.network(**one).logits for one in encoded])
    bank = classifier.bank([classifier.null_trigger()])
    items = [classifier.preprocess(text) for text in TEXTS]
    drawn = random.Random(0)
    for _ in range(4):
        rows = drawn.sample(range(len(TEXTS)), drawn.choice([1, 2, 7, len(TEXTS)]))
        batch = classifier.batch([items[row] for row in rows])
        with torch.no_grad():
            found = reprogram(classifier, batch, bank, torch.zeros(len(rows), dtype=torch.long))
        assert torch.allclose(found, wanted[rows], atol=1e-5)
    assert wanted.std(dim=0).min() > 0.05


def test_triggers_of_mixed_lengths_equal_the_same_ids_typed_there(classifier: FrozenClassifier) -> None:
    one, three = [20], [30, 21, 40]
    triggers = [
        classifier.null_trigger(),
        hard(classifier, "after_cls", three),
        hard(classifier, "before_sep", three),
        hard(classifier, "before_sep", one),
    ]
    items = [classifier.preprocess(text) for text in TEXTS[:12]]
    template = classifier.template
    with torch.no_grad():
        found = sweep(classifier, classifier.batch(items), classifier.bank(triggers))
    for row, item in enumerate(items):
        ids = cast(Any, item).ids
        words = ids[len(template.prefix) : len(ids) - len(template.suffix)]
        typed = [words, (*three, *words), (*words, *three), (*words, *one)]
        for v, each in enumerate(typed):
            wanted = from_ids(classifier, (*template.prefix, *each, *template.suffix), len(each))
            assert torch.allclose(found[v, row], wanted, atol=1e-5), (row, v)


def test_gradients_reach_each_trigger_as_they_do_one_text_at_a_time(classifier: FrozenClassifier) -> None:
    triggers = [hard(classifier, "before_sep", [20, 30]), hard(classifier, "before_sep", [22, 35])]
    bank = classifier.bank(triggers)
    assert isinstance(bank, TextBank)
    items = [classifier.preprocess(text) for text in TEXTS[:6]]
    batch = classifier.batch(items)
    assert isinstance(batch, TextBatch)
    for pieces in ((), ((2, batch.ids.shape[1]), (4, batch.ids.shape[1]))):
        texts = TextBatch(batch.ids, batch.lengths, pieces)
        made = forward_with_vjp(classifier, texts, bank, torch.float32, antisymmetric=True)
        cotangents = torch.randn(2, len(items), generator=torch.Generator().manual_seed(0))
        ((gradient,),) = made.vjp([torch.stack([-cotangents, cotangents], dim=2)])
        for v, trigger in enumerate(triggers):
            wanted = torch.zeros_like(trigger.embeddings)
            for row, item in enumerate(items):
                own = TextBank(trigger.embeddings.clone().requires_grad_()[None], (2,), ("before_sep",))
                logits = reprogram(classifier, classifier.batch([item]), own, torch.zeros(1, dtype=torch.long))[0]
                (part,) = torch.autograd.grad((logits[1] - logits[0]) * cotangents[v, row], own.embeddings)
                wanted += part[0]
            assert torch.allclose(gradient[v], wanted, atol=1e-4, rtol=1e-3)


def test_as_published_is_refused_where_nothing_frames_a_text_or_the_last_position_is_read(
    classifier: FrozenClassifier,
) -> None:
    framed = (len(classifier.template.prefix), len(classifier.template.suffix)) == (1, 1)
    bank = [hard(classifier, "as_published", [20])]
    if framed:
        classifier.bank(bank)
        return
    with pytest.raises(ModelError, match="as_published"):
        classifier.bank(bank)


def test_a_text_that_is_too_long_keeps_its_frame(classifier: FrozenClassifier, tmp_path: Path) -> None:
    long = classifier.preprocess("the house and " * 300)
    template = classifier.template
    ids = cast(Any, long).ids
    assert cast(Any, long).truncated and len(ids) == 200
    assert ids[: len(template.prefix)] == template.prefix
    assert ids[len(ids) - len(template.suffix) :] == template.suffix
