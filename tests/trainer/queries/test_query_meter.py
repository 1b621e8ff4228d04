"""Meters of queries: what is spent on what, and that a budget is kept to the row."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import torch

from trainer.queries import AnswerStore, BudgetSpent, QueryMeter, ask_through, asked_for
from triggers.model import FrozenClassifier, sweep


@pytest.fixture
def store(tmp_path: Path) -> Iterator[AnswerStore]:
    with closing(AnswerStore(tmp_path / "answers.sqlite", "sha256:a")) as store:
        yield store


def test_spends_on_purposes_to_the_last_row_and_not_further() -> None:
    meter = QueryMeter(10, price=2.0)
    with meter.asking_for("tuning"):
        meter.take(6)
    with meter.asking_for("test"):
        with pytest.raises(BudgetSpent, match=r"5 more rows are needed, 4 of train\.max_queries = 10 are left"):
            meter.take(5)
        meter.take(4)
    assert meter.record()["spent"] == {"tuning": 6, "test": 4}
    assert (meter.total, meter.left, meter.record()["cost"]) == (10, 0, 0.02)


def test_holds_rows_back_for_what_comes_last() -> None:
    meter = QueryMeter(10)
    meter.reserved["test"] = 4
    with meter.asking_for("tuning"), pytest.raises(BudgetSpent, match="7 more rows are needed, 6 of"):
        meter.take(7)
    with meter.asking_for("test"):
        meter.take(4)
    meter.take(6)
    assert meter.left == 0


def test_counts_the_rows_of_a_model_in_memory_and_leaves_it_as_it_is(digits_classifier: FrozenClassifier) -> None:
    meter = QueryMeter(8)
    asked = ask_through(digits_classifier, meter, None)
    images = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8)
    bank = asked.bank([asked.null_trigger()])
    with torch.no_grad(), asked_for(asked, "test"):
        assert torch.equal(sweep(asked, images, bank), sweep(digits_classifier, images, bank))
        assert torch.equal(sweep(asked.accelerated(), images, bank), sweep(digits_classifier, images, bank))
        with pytest.raises(BudgetSpent):
            sweep(asked, images[:1], bank)
    assert meter.spent == {"test": 8}
    digits_classifier.verify()


def test_keeps_answers_and_finds_them_again(store: AnswerStore, tmp_path: Path) -> None:
    keys, outputs = [b"one", b"two"], torch.tensor([[1.5, 2.0], [3.0, -1.0]])
    store.keep(keys, outputs)
    with closing(AnswerStore(tmp_path / "answers.sqlite", "sha256:a")) as again:
        found = again.find([b"two", b"three"])
    assert found.keys() == {b"two"} and torch.equal(found[b"two"], outputs[1])


def test_forgets_the_answers_of_another_model(store: AnswerStore, tmp_path: Path) -> None:
    store.keep([b"one"], torch.ones(1, 2))
    with closing(AnswerStore(tmp_path / "answers.sqlite", "sha256:b")) as other:
        assert other.find([b"one"]) == {}
