"""Which parts lie on the device."""

from __future__ import annotations

import io

import torch

from tests.trainer.datasets import comments, digits
from trainer.data.device_placement import fits, place_on_device
from trainer.progress import LineProgress


def test_the_first_parts_that_fit_are_placed() -> None:
    assert fits([50, 30, 30], 100) == [True, True, False]
    assert fits([150, 30, 70], 100) == [False, True, True]
    assert fits([60, 60, 40], 100) == [True, False, True]


def test_on_a_cpu_nothing_is_copied() -> None:
    splits = digits.splits()
    said = io.StringIO()
    (same,) = place_on_device({"tuning": splits.tuning}, torch.device("cpu"), 1e-9, LineProgress(said))
    assert same is splits.tuning
    assert said.getvalue() == ""


def test_the_size_of_a_part_is_that_of_its_tensors() -> None:
    images, texts = digits.splits().tuning.take(torch.arange(10)), comments.splits().tuning.take(torch.arange(4))
    assert images.nbytes == 10 * (3 * 16 * 16 + 8 + 8)
    assert texts.nbytes == sum(tensor.numel() * 8 for tensor in texts.tensors())


def test_parts_that_do_not_fit_are_said_and_stay() -> None:
    splits, said = digits.splits(), io.StringIO()
    meta = torch.device("meta")  # a device that holds no bytes, so that no GPU is needed to move to one
    limit = 1.5 * splits.tuning.nbytes / 1e9
    tuning, test = place_on_device({"tuning": splits.tuning, "test": splits.test}, meta, limit, LineProgress(said))
    assert tuning.labels.device == meta
    assert test is splits.test
    assert "the test part does not fit on the device" in said.getvalue()
    assert "train.device_memory_gb" in said.getvalue()
