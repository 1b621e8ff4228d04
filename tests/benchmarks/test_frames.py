"""Frames: scaled to the classifier, charged for what they hide, measured once, and told in a table by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch.nn.functional import pad

from benchmarks.frames import Frame, Measurement, frames, measurement, table
from benchmarks.small_resnet import small_resnet
from tests.trainer.datasets import faces
from tests.trainer.training.test_training_loop import quiet
from trainer.config.run_config import TriggerConfig
from trainer.evaluation.counts import accuracy
from triggers.trigger.image import shrink_and_centre

CHANGES = (
    'base.labels=["plain","attractive"]',
    "base.size=16",
    "base.epochs=2",
    "base.lr=0.01",
    "base.batch_size=16",
    "split.base=60",
    "split.tuning=40",
    "split.val=40",
    "split.test=40",
    "train.device=cpu",
    "train.threads=1",
)


def test_frames_are_scaled_to_the_classifier() -> None:
    assert Frame("border", 8, "cover").trigger(112) == TriggerConfig("border", width=8, fit="cover")
    assert Frame("border", 8, "shrink").trigger(56) == TriggerConfig("border", width=4, fit="shrink")
    assert Frame("border", 1, "cover").trigger(16) == TriggerConfig("border", width=1, fit="cover")
    assert Frame("patch", 40).trigger(56) == TriggerConfig("patch", patch_size=20)


def test_zero_stands_for_no_frame() -> None:
    assert [one.name for one in frames((4, 8), ("shrink", "cover"), (0,))] == [
        "border 4 shrink",
        "border 4 cover",
        "border 8 shrink",
        "border 8 cover",
    ]
    assert frames((0,), ("cover",), (40,)) == [Frame("patch", 40)]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Measurement:
    folder = tmp_path_factory.mktemp("frames")
    data = faces.celeba(folder / "celeba", train=120, val=40, test=40)
    return measurement(
        folder, "attractive", "tests.bundles:tiny_network", "crops", 0, (f"data.path={data}", *CHANGES), quiet()
    )


@pytest.mark.parametrize("frame", [Frame("border", 14, "cover"), Frame("border", 14, "shrink"), Frame("patch", 42)])
def test_a_piece_says_what_the_frame_alone_costs(measured: Measurement, frame: Frame) -> None:
    measured.run(frame, "adversarial", 0.01)
    path = measured.path(frame, "adversarial", 0.01)
    found = json.loads(path.read_text())
    test = measured.splits.test
    assert isinstance(test.inputs, torch.Tensor)
    pixels = test.inputs / 255
    if frame.kind == "patch":
        pixels[..., :6, :6] = 0
    else:
        inside = pixels[..., 2:-2, 2:-2]
        pixels = shrink_and_centre(pixels, 12) if frame.fit == "shrink" else pad(inside, (2, 2, 2, 2))
    with torch.no_grad():
        right = measured.classifier.image_logits(pixels).argmax(dim=1) == test.labels
    assert found["alone_accuracy"] == pytest.approx(right.float().mean().item())
    assert found["base_accuracy"] == pytest.approx(accuracy(measured.bare))
    assert (found["builder"], found["base"], found["system"]) == ("tests.bundles:tiny_network", "crops", frame.name)
    path.write_text("[]")
    measured.run(frame, "adversarial", 0.01)
    assert path.read_text() == "[]"  # it was there


def test_crops_are_what_the_base_is_fitted_on(measured: Measurement) -> None:
    assert measured.config.base
    assert measured.config.base.crop == (0.5, 1.0)
    assert measured.config.model.bundle.name == "attractive-tiny_network-crops-0"


def test_the_table_by_hand() -> None:
    def record(seed: int, gap: float, accuracy: float, **change: Any) -> dict[str, Any]:
        same = {"builder": "resnet18", "base": "crops", "system": "border 8 cover", "objective": "adversarial"}
        figures = {"base_accuracy": 0.76, "alone_accuracy": 0.75, "base_average_odds_difference": 0.2}
        own = {"seed": seed, "average_odds_difference": gap, "accuracy": accuracy, "budget": 0.01, "kept": True}
        return same | figures | own | change

    found = [record(0, 0.14, 0.75), record(1, 0.16, 0.76, kept=False), record(1, 0.01, 0.7, budget=0.04)]
    _, _, row = table([*found], 0.01)
    assert row == (
        "| resnet18 | crops | border 8 cover | adversarial | 2 | 0.760 | -1.0 (-1.0 to -1.0) points "
        "| -0.5 (-6.9 to +5.9) points | 0.200 | 0.150 (0.023 to 0.277) | 25 (-39 to 89) % | 1 of 2 |"
    )
    _, _, one = table(found[:1], 0.01)
    assert one.endswith("| -1.0 points | -1.0 points | 0.200 | 0.140 | 30 % | 1 of 1 |")


def test_the_small_network_takes_any_size() -> None:
    network = small_resnet(labels=3, channels=4)
    for side in (56, 64):
        assert network(torch.zeros(2, 3, side, side)).shape == (2, 3)
