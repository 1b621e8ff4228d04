"""Random resized crops: torchvision's distribution and its pixels, in a batch."""

from __future__ import annotations

import pytest
import torch
from torchvision.transforms.v2 import RandomResizedCrop
from torchvision.transforms.v2.functional import resized_crop

from trainer.data.random_resized_crop import random_crops, resize_crops


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("sides", [(24, 24), (16, 40)])
@pytest.mark.parametrize("scale", [(0.5, 1.0), (0.08, 0.3), (1.0, 1.0)])
def test_crops_lie_within_the_image_and_have_the_shares_and_ratios_asked_for(
    sides: tuple[int, int], scale: tuple[float, float]
) -> None:
    top, left, tall, wide = random_crops(3000, sides, scale, seeded()).unbind(dim=1)
    assert top.min() == left.min() == 0 and int(tall.min()) > 0 and int(wide.min()) > 0
    assert (top + tall).max() == sides[0] and (left + wide).max() == sides[1]
    part = (tall != sides[0]) | (wide != sides[1])  # the rest took the whole image
    half = 0.5 + 1e-6  # of a pixel, by rounding
    area = sides[0] * sides[1]
    assert ((tall + half) * (wide + half) >= scale[0] * area)[part].all()
    assert ((tall - half) * (wide - half) <= scale[1] * area)[part].all()
    assert ((wide + half) / (tall - half) >= 3 / 4)[part].all() and ((wide - half) / (tall + half) <= 4 / 3)[part].all()


def test_crops_are_distributed_as_torchvisions() -> None:
    torch.manual_seed(0)
    theirs = RandomResizedCrop(24, scale=(0.3, 1.0))
    image = torch.zeros(3, 24, 24)
    drawn = [theirs.make_params([image]) for _ in range(2000)]
    expected = torch.tensor([[one[name] for name in ("top", "left", "height", "width")] for one in drawn]).float()
    found = random_crops(2000, (24, 24), (0.3, 1.0), seeded()).float()
    assert torch.allclose(found.mean(dim=0), expected.mean(dim=0), atol=0.4)
    assert torch.allclose(found.std(dim=0), expected.std(dim=0), atol=0.3)


def test_crops_are_enlarged_to_torchvisions_pixels() -> None:
    images = torch.randint(0, 256, (40, 3, 12, 20), dtype=torch.uint8, generator=seeded())
    crops = random_crops(40, (12, 20), (0.1, 1.0), seeded(1))
    found = resize_crops(images, crops)
    assert found.dtype == torch.uint8
    for image, (top, left, tall, wide), made in zip(images, crops.tolist(), found, strict=True):
        expected = resized_crop(image.float(), top, left, tall, wide, [12, 20], antialias=True)
        assert (made - expected).abs().max() <= 0.5 + 1e-3  # rounding


def test_a_tiny_image_by_hand() -> None:
    image = torch.tensor([[10, 20, 99], [30, 40, 99], [99, 99, 99]], dtype=torch.uint8).view(1, 1, 3, 3)
    corner, whole = resize_crops(image.repeat(2, 1, 1, 1), torch.tensor([[0, 0, 2, 2], [0, 0, 3, 3]]))
    assert corner.tolist() == [[[10, 15, 20], [20, 25, 30], [30, 35, 40]]]
    assert torch.equal(whole, image[0])


def test_an_image_too_narrow_for_any_ratio_is_taken_whole() -> None:
    assert random_crops(3, (2, 200), (1.0, 1.0), seeded()).tolist() == [[0, 0, 2, 200]] * 3
