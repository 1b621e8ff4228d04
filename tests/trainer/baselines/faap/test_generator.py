"""FAAP's generator: bounded whatever it is given, of any size of image, every image by itself, small."""

from __future__ import annotations

import pytest
import torch

from trainer.baselines.faap import PerturbationGenerator


@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 9, 17), (3, 5, 4)])
def test_perturbations_are_within_epsilon_and_pixels_stay_pixels(shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    generator = PerturbationGenerator(shape[0], shape[1:], 0.1)
    with torch.no_grad():
        for weight in generator.parameters():
            weight.mul_(50)  # so that tanh is at its ends
    images = torch.randint(0, 256, (4, *shape), dtype=torch.uint8)
    images[0], images[1] = 0, 255
    shown = generator.perturbed(images)
    change = shown - images / 255.0
    assert shown.shape == images.shape
    assert 0 <= shown.min() and shown.max() <= 1
    assert 0.09 < change.abs().max() <= 0.1 + 1e-6


def test_an_image_does_not_depend_on_the_others_in_its_batch() -> None:
    torch.manual_seed(0)
    generator = PerturbationGenerator(3, (16, 16), 0.5)
    images = torch.rand(5, 3, 16, 16)
    apart = torch.cat([generator(image[None]) for image in images])
    assert torch.allclose(generator(images), apart, atol=1e-6)
    assert not torch.allclose(apart[0], apart[1], atol=1e-4)


def test_it_is_narrower_for_smaller_images_and_never_large() -> None:
    sizes = [
        sum(weight.numel() for weight in PerturbationGenerator(3, (side, side), 0.1).parameters())
        for side in (16, 48, 112)
    ]
    assert sizes == sorted(set(sizes))
    assert sizes[-1] < 500_000
