"""The canonical image formula on hand-computed cases, and mixed banks against single triggers."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import interpolate

from triggers.errors import ArtifactCorrupt
from triggers.trigger.image import SMALL, ImageBank, ImageTrigger, compose, shrink_and_centre

SIZE = 12


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def border(width: int) -> ImageTrigger:
    mask = torch.ones(3, SIZE, SIZE)
    mask[:, width:-width, width:-width] = 0
    return ImageTrigger("border", SIZE - 2 * width, 1 - mask, noise(3, SIZE, SIZE, seed=width) * mask)


def overlay(epsilon: float) -> ImageTrigger:
    return ImageTrigger("overlay", SIZE, torch.ones(3, SIZE, SIZE), (noise(3, SIZE, SIZE) * 2 - 1) * epsilon)


def photos(count: int) -> torch.Tensor:
    return (noise(count, 3, SIZE, SIZE, seed=9) * 255).to(torch.uint8)


def test_compose_by_hand() -> None:
    x = torch.tensor([0.5, 0.5, 0.9, 0.1])
    keep = torch.tensor([1.0, 0.0, 1.0, 1.0])
    delta = torch.tensor([0.25, 0.75, 0.5, -0.5])
    assert compose(x, keep, delta).tolist() == [0.75, 0.75, 1.0, 0.0]


def test_place_centres_on_black_and_keeps_the_mean_inside() -> None:
    placed = shrink_and_centre(torch.full((1, 3, 12, 12), 0.5), 7)
    assert placed.shape == (1, 3, 12, 12)
    assert torch.allclose(placed[0, 0, 3:10, 3:10], torch.tensor(0.5))  # odd remainder: 3 before, 2 after
    assert placed[0, 0, :3].abs().max() == 0 and placed[0, 0, 10:].abs().max() == 0


@given(st.integers(2, SMALL), st.data())
def test_small_images_are_shrunk_to_what_torch_makes_of_them(size: int, data: st.DataObject) -> None:
    inner = data.draw(st.integers(1, size - 1))
    images = noise(2, 3, size, size, seed=inner)
    expected = interpolate(images, (inner, inner), mode="bilinear", antialias=True)
    before = (size - inner + 1) // 2
    placed = shrink_and_centre(images, inner)
    inside = placed[..., before : before + inner, before : before + inner]
    assert torch.allclose(inside, expected, atol=1e-6)
    assert placed.sum().item() == pytest.approx(inside.sum().item(), rel=1e-5)


def test_what_shrinks_images_may_be_made_while_serving_and_used_in_training() -> None:
    with torch.inference_mode():
        shrink_and_centre(torch.ones(1, 1, 13, 13), 9)
    images = torch.ones(1, 1, 13, 13, requires_grad=True)
    shrink_and_centre(images, 9).sum().backward()
    assert images.grad is not None and images.grad.sum().item() == pytest.approx(81, rel=1e-5)


def test_no_trigger_changes_nothing() -> None:
    bank = ImageBank.of([ImageTrigger.none(3, SIZE)])
    images = photos(4)
    assert torch.equal(bank.apply(images, torch.zeros(4, dtype=torch.int64)), images / 255.0)


def test_border_shows_its_own_pixels_outside_and_the_small_image_inside() -> None:
    trigger, images = border(3), photos(1)
    shown = ImageBank.of([trigger]).apply(images, torch.tensor([0]))[0]
    assert torch.equal(shown[:, :3], trigger.delta[:, :3])
    assert torch.allclose(shown[:, 3:-3, 3:-3], shrink_and_centre(images / 255.0, 6)[0, :, 3:-3, 3:-3])


@given(st.lists(st.integers(0, 4), min_size=1, max_size=8))
def test_mixed_rows_equal_single_rows(choice: list[int]) -> None:
    triggers = [ImageTrigger.none(3, SIZE), border(2), border(3), overlay(0.1), overlay(0.4)]
    bank, images, index = ImageBank.of(triggers), photos(len(choice)), torch.tensor(choice)
    mixed = bank.apply(images, index)
    for row, v in enumerate(choice):
        alone = ImageBank.of([triggers[v]]).apply(images[row : row + 1], torch.tensor([0]))
        assert torch.allclose(mixed[row], alone[0], atol=1e-6)
    everything = bank.apply_all(images).view(len(bank), len(choice), 3, SIZE, SIZE)
    assert torch.allclose(everything[index, torch.arange(len(choice))], mixed, atol=1e-6)


def test_gradients_reach_only_the_triggers_that_were_used() -> None:
    keep, delta = torch.ones(2, 3, SIZE, SIZE), torch.zeros(2, 3, SIZE, SIZE, requires_grad=True)
    ImageBank(keep, delta, (SIZE, SIZE)).apply(photos(3), torch.tensor([1, 1, 1])).sum().backward()
    assert delta.grad is not None
    assert delta.grad[0].abs().max() == 0 and delta.grad[1].abs().max() > 0


def broken(**change: object) -> ImageTrigger:
    good = {"kind": "overlay", "inner": SIZE, "keep": torch.ones(3, SIZE, SIZE), "delta": torch.zeros(3, SIZE, SIZE)}
    return ImageTrigger(**(good | change))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"kind": "frame"}, "Unknown image trigger kind"),
        ({"inner": SIZE + 1}, "inner is 13"),
        ({"inner": 0}, "inner is 0"),
        ({"delta": torch.zeros(3, SIZE, SIZE - 1)}, "two equal"),
        ({"delta": torch.zeros(3, SIZE, SIZE, dtype=torch.float64)}, "float32"),
        ({"delta": torch.full((3, SIZE, SIZE), torch.nan)}, "NaN"),
        ({"delta": torch.full((3, SIZE, SIZE), 1.5)}, "delta leaves"),
        ({"keep": torch.full((3, SIZE, SIZE), -0.1)}, "keep leaves"),
    ],
)
def test_validate_names_what_is_wrong(change: dict[str, object], reason: str) -> None:
    with pytest.raises(ArtifactCorrupt, match=reason):
        broken(**change).validate()
    broken().validate()
