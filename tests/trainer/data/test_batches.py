"""Batches follow from seed and step alone, and cover the data."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.trainer.datasets import comments, digits
from trainer.data.batches import Batches, _generator, flip_images, shift_images
from trainer.data.dataset import Dataset
from trainer.data.random_resized_crop import random_crops, resize_crops
from trainer.distributed import ProcessGroup
from triggers.preprocessing.preprocess import TextBatch


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
    assert torch.equal(flip_images(batch, changed), plain)


def test_crops_follow_from_seed_and_step_and_leave_order_flips_and_shifts_as_they_are() -> None:
    data = small(100)
    crop, again = (Batches(data, 100, seed=1, flip=True, shift=1, crop=(0.3, 0.6)).batch(5) for _ in range(2))
    plain = Batches(data, 100, seed=1, flip=True, shift=1).batch(5)
    assert isinstance(crop.inputs, torch.Tensor) and isinstance(plain.inputs, torch.Tensor)
    assert torch.equal(crop.inputs, again.inputs)  # type: ignore[arg-type]
    assert torch.equal(crop.labels, plain.labels)
    crops = random_crops(100, (digits.SIZE, digits.SIZE), (0.3, 0.6), _generator(1, 5, stream=3))
    assert torch.equal(crop.inputs, resize_crops(plain.inputs, crops))
    other = Batches(data, 100, seed=1, flip=True, shift=1, crop=(0.3, 0.6)).batch(6)
    assert not torch.equal(other.inputs, crop.inputs)  # type: ignore[arg-type]


def test_what_is_flipped_is_drawn_apart_from_the_order() -> None:
    data = small(100)
    batches = Batches(data, 100, seed=1, flip=True)
    found, plain = batches.batch(5).inputs, data.take(batches.rows(5)).inputs
    assert isinstance(found, torch.Tensor) and isinstance(plain, torch.Tensor)
    flipped = (found != plain).flatten(1).any(dim=1)
    order = torch.rand(100, generator=_generator(1, 5, stream=0)) < 0.5
    assert 0.2 < (flipped == order).float().mean().item() < 0.8


def test_texts_come_by_length_in_pieces_that_pad_little_and_never_flipped() -> None:
    data = comments.splits().tuning
    assert isinstance(data.inputs, TextBatch)
    batches = Batches(data, 30, seed=0, flip=True)
    batch, rows = batches.batch(0), batches.rows(0)
    inputs = batch.inputs
    assert isinstance(inputs, TextBatch)
    assert inputs.lengths.tolist() == sorted(data.inputs.lengths[rows].tolist())
    assert sum(count for count, _ in inputs.pieces) == 30
    start = 0
    for count, width in inputs.pieces:
        assert int(inputs.lengths[start : start + count].max()) <= width <= inputs.ids.shape[1]
        start += count
    found = {
        (tuple(ids[:n]), label)
        for ids, n, label in zip(inputs.ids.tolist(), inputs.lengths.tolist(), batch.labels.tolist(), strict=True)
    }
    wanted = {
        (tuple(data.inputs.ids[row, : data.inputs.lengths[row]].tolist()), int(data.labels[row]))
        for row in rows.tolist()
    }
    assert found == wanted  # every text kept its label


@pytest.mark.parametrize("modality", ["image", "text"])
def test_processes_share_a_batch_and_know_all_of_its_labels(modality: str) -> None:
    data = (digits if modality == "image" else comments).splits().tuning
    how: dict[str, Any] = {"seed": 3, "flip": True, "shift": 2, "crop": (0.5, 1.0)}
    alone = Batches(data, 31, **how).batch(5)
    parts = [Batches(data, 31, **how, process_group=ProcessGroup(rank, 3)).batch(5) for rank in range(3)]
    assert all(torch.equal(part.labels, parts[0].labels) for part in parts)
    assert sorted(parts[0].labels.tolist()) == sorted(alone.labels.tolist())
    assert sum(len(part.inputs) for part in parts) == 31
    if isinstance(alone.inputs, torch.Tensor):
        assert torch.equal(torch.cat([part.inputs for part in parts]), alone.inputs)  # type: ignore[misc]
        assert torch.equal(parts[0].labels, alone.labels)


def test_text_pieces_have_the_same_widths_in_every_process() -> None:
    lengths = torch.randint(1, 200, (60,), generator=torch.Generator().manual_seed(0))
    texts = TextBatch(torch.ones(60, 200, dtype=torch.long), lengths)
    data = Dataset(texts, torch.zeros(60, dtype=torch.long), torch.zeros(60, dtype=torch.long), (), ("a",), ("b",))
    for step in range(3):
        parts = [Batches(data, 17, seed=1, process_group=ProcessGroup(rank, 3)).batch(step).inputs for rank in range(3)]
        widths = set()
        for part in parts:
            assert isinstance(part, TextBatch)
            widths.add(tuple(width for _, width in part.pieces))
            start = 0
            for rows, width in part.pieces:
                assert int(part.lengths[start : start + rows].max()) <= width
                start += rows
        assert len(widths) == 1


def test_images_are_moved_down_and_right_with_their_border_repeated() -> None:
    image = torch.arange(9.0).view(1, 1, 3, 3)  # rows 012, 345, 678
    down, right, both, back = shift_images(image.repeat(4, 1, 1, 1), torch.tensor([[1, 0, 1, -2], [0, 1, 2, 0]]))
    assert down.tolist() == [[[0, 1, 2], [0, 1, 2], [3, 4, 5]]]
    assert right.tolist() == [[[0, 0, 1], [3, 3, 4], [6, 6, 7]]]
    assert both.tolist() == [[[0, 0, 0], [0, 0, 0], [3, 3, 3]]]
    assert back.tolist() == [[[6, 7, 8], [6, 7, 8], [6, 7, 8]]]


def test_images_that_are_not_square_are_moved_likewise() -> None:
    image = torch.arange(8.0).view(1, 1, 2, 4)  # rows 0123, 4567
    down, far = shift_images(image.repeat(2, 1, 1, 1), torch.tensor([[1, 0], [0, 3]]))
    assert down.tolist() == [[[0, 1, 2, 3], [0, 1, 2, 3]]]
    assert far.tolist() == [[[0, 0, 0, 0], [4, 4, 4, 4]]]


def test_only_the_chosen_images_are_mirrored() -> None:
    images = torch.arange(4.0).view(1, 1, 2, 2).repeat(2, 1, 1, 1)
    assert flip_images(images, torch.tensor([True, False])).tolist() == [[[[1, 0], [3, 2]]], [[[0, 1], [2, 3]]]]
