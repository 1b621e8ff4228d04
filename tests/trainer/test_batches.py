"""Batches follow from seed and step alone, and cover the data."""

from __future__ import annotations

import torch

from tests.trainer import comments, digits
from trainer.batches import Batches, flipped
from trainer.data import Dataset
from triggers.preprocess import TextBatch


def small(rows: int) -> Dataset:
    return digits.splits().tuning.take(torch.arange(rows))


def test_every_pass_sees_every_row_once_also_across_batch_borders() -> None:
    batches = Batches(small(10), 4, seed=0)
    rows = torch.cat([batches.rows(step) for step in range(5)])
    assert sorted(rows[:10].tolist()) == list(range(10))
    assert sorted(rows[10:].tolist()) == list(range(10))
    assert rows[:10].tolist() != rows[10:].tolist()


def test_a_fresh_start_in_the_middle_draws_the_same_rows() -> None:
    whole = Batches(small(10), 4, seed=3)
    before = [whole.rows(step) for step in range(8)]
    assert torch.equal(Batches(small(10), 4, seed=3).rows(6), before[6])
    assert not torch.equal(Batches(small(10), 4, seed=4).rows(6), before[6])


def test_a_batch_larger_than_the_data_is_the_data() -> None:
    assert sorted(Batches(small(10), 64, seed=0).rows(2).tolist()) == list(range(10))


def test_a_batch_holds_the_rows_it_names() -> None:
    data = small(10)
    batches = Batches(data, 4, seed=0)
    batch, rows = batches.batch(1), batches.rows(1)
    assert isinstance(batch.inputs, torch.Tensor) and isinstance(data.inputs, torch.Tensor)
    assert torch.equal(batch.inputs, data.inputs[rows])
    assert torch.equal(batch.labels, data.labels[rows])
    assert torch.equal(batch.groups, data.groups[rows])


def test_flips_about_half_the_images_and_the_same_ones_again() -> None:
    data = small(100)
    batch, again = (Batches(data, 100, seed=1, flip=True).batch(5).inputs for _ in range(2))
    plain = Batches(data, 100, seed=1).batch(5).inputs
    assert isinstance(batch, torch.Tensor) and isinstance(again, torch.Tensor) and isinstance(plain, torch.Tensor)
    changed = (batch != plain).flatten(1).any(dim=1)
    assert torch.equal(batch, again)
    assert 30 < int(changed.sum()) < 70
    assert torch.equal(flipped(batch, changed), plain)


def test_texts_are_cut_to_the_longest_of_the_batch_and_never_flipped() -> None:
    batch = Batches(comments.splits().tuning, 3, seed=0, flip=True).batch(0).inputs
    assert isinstance(batch, TextBatch)
    assert batch.ids.shape[1] == int(batch.lengths.max())
