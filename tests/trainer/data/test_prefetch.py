"""Batches made ahead are the batches made one by one."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from tests.trainer.datasets import comments, digits
from trainer.data.batches import Batches
from trainer.data.dataset import Dataset
from trainer.data.prefetch import _buffer, prefetch_batches, stream_batches
from triggers.errors import DataError

CPU = torch.device("cpu")


def same(one: Dataset, other: Dataset) -> bool:
    return all(torch.equal(a.cpu(), b.cpu()) for a, b in zip(one.tensors(), other.tensors(), strict=True))


@pytest.mark.parametrize("ahead", [1, 2, 3, 8])
def test_every_item_comes_once_and_in_order_from_one_other_thread(ahead: int) -> None:
    data, threads = digits.splits().tuning, set()

    def gather(step: int, into: Tensor | None) -> Dataset:
        threads.add(threading.current_thread())
        return data.take(torch.arange(step, step + 4))

    found = list(prefetch_batches(gather, range(5), CPU, [None] * ahead))
    assert len(found) == 5
    assert all(same(batch, data.take(torch.arange(n, n + 4))) for n, batch in enumerate(found))
    assert len(threads) == 1 and threading.current_thread() not in threads
    assert list(prefetch_batches(gather, range(0), CPU, [None] * ahead)) == []


def test_no_more_batches_are_made_than_there_is_room_for() -> None:
    data, made = digits.splits().tuning, []

    def gather(step: int, into: Tensor | None) -> Dataset:
        made.append(step)
        return data.take(torch.arange(4))

    batches: Iterator[Dataset] = prefetch_batches(gather, range(100), CPU, [None] * 3)
    for _ in range(20):
        next(batches)
    batches.close()  # type: ignore[attr-defined]
    assert len(made) <= 23


def test_an_error_while_gathering_reaches_who_asked() -> None:
    def gather(step: int, into: Tensor | None) -> Dataset:
        raise DataError(f"step {step} is gone")

    with pytest.raises(DataError, match="step 0 is gone"):
        list(prefetch_batches(gather, range(3), CPU, [None] * 3))


def test_rows_are_put_into_a_buffer_that_is_large_enough() -> None:
    data, buffer = digits.splits().tuning, torch.zeros(8, 3, 16, 16, dtype=torch.uint8)
    rows = torch.tensor([5, 3, 3, 9])
    taken = data.take(rows, slice(1, 4), into=buffer)
    assert torch.equal(torch.as_tensor(taken.inputs), torch.as_tensor(data.inputs)[rows[1:]])
    assert torch.as_tensor(taken.inputs).data_ptr() == buffer.data_ptr()
    assert torch.equal(taken.labels, data.labels[rows])


def test_a_buffer_made_in_inference_mode_can_be_written_by_the_thread() -> None:
    data = digits.splits().tuning
    with torch.inference_mode():
        buffer = _buffer(data, 8, CPU)
    assert buffer is not None
    data.take(torch.arange(8), into=buffer)
    assert torch.equal(buffer, torch.as_tensor(data.inputs)[:8])


@pytest.mark.parametrize("texts", [False, True])
def test_the_steps_of_a_run_are_the_same_one_by_one(texts: bool) -> None:
    data = comments.splits().tuning if texts else digits.splits().tuning
    batches = Batches(data, 32, seed=3, flip=True, shift=2)
    steps = range(2, 30)
    assert all(same(batch, batches.batch(step)) for step, batch in zip(steps, batches.each(steps), strict=True))


@pytest.mark.gpu
@pytest.mark.parametrize("texts", [False, True])
def test_batches_from_outside_the_gpu_are_those_from_inside(texts: bool) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    gpu, data = torch.device("cuda"), comments.splits().tuning if texts else digits.splits().tuning
    inside = Batches(data.to(gpu), 32, seed=3, flip=True, shift=2)
    outside = Batches(data, 32, seed=3, flip=True, shift=2, device=gpu)
    for step, batch in enumerate(outside.each(range(60))):
        assert batch.labels.is_cuda
        assert same(batch, inside.batch(step))
    chunks = torch.arange(len(data)).split(50)
    found = stream_batches(lambda rows, into: data.take(rows, into=into), chunks, data, 50, gpu)
    assert all(same(batch, data.take(rows)) for rows, batch in zip(chunks, found, strict=True))
