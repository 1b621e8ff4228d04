"""The image input of a model from its `transformers` image processor.

Sizes come from what the processor states. What it does to the values of pixels (rescaling, mean, standard deviation,
order of channels) is measured on plain pictures, because classes differ in it; anything that is no straight line per
channel is refused. Whether all of it holds is then compared picture by picture (sources/source_comparison.py).
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
from PIL import Image

from triggers.errors import ModelError
from triggers.preprocessing import ImageSpec
from triggers.preprocessing.image_spec import CenterCrop, Fit, Pad, Resize, Step

FILTERS = {0: "nearest_exact", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}
"""PIL's filter numbers, which processors state, by what `transformers` resizes tensors with."""
PROCESSOR_FILE = "preprocessor_config.json"
LEVELS = (0, 51, 102, 204, 255)
SAME_COLOUR = 1e-3
"""Differences of mean and standard deviation that are rounding."""
STEP_SIZES = ("height", "width", "shorter_edge", "longer_edge")
CROP_FROM_EDGE = 384
"""ConvNeXT's processor cuts only below this size."""


def image_spec_of(processor: Any) -> ImageSpec:
    """The image input that a processor stands for. Raises ModelError, naming its class, if it cannot be said so."""
    name = type(processor).__name__
    if not getattr(processor, "is_fast", False) and getattr(processor, "backend", "") != "torchvision":
        raise ModelError(f"{name} does not work on torchvision, which is what is followed here; update transformers.")
    try:
        steps = _steps(processor, name)
        channel_order, mean, std = _normalisation(processor)
        height, width = _pixels(processor, Image.new("RGB", (640, 480))).shape[-2:]
        return ImageSpec(height, width, mean, std, steps, channel_order=channel_order)
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"The image processor {name} cannot be said as a pipeline of steps: {reason}") from error


def image_difference(stated: ImageSpec, own: ImageSpec) -> str:
    """Where two image inputs are not the same, in a few words; empty if they are, but for the resizing library."""
    for what in ("height", "width", "channels", "channel_order"):
        if getattr(stated, what) != getattr(own, what):
            return f"{what} {getattr(stated, what)}, not {getattr(own, what)}"
    for what in ("mean", "std"):
        found, wanted = getattr(stated, what), getattr(own, what)
        if not np.allclose(found, wanted, rtol=0, atol=SAME_COLOUR):
            return f"{what} {list(found)}, not {list(wanted)}"
    found, wanted = _said(stated.steps), _said(own.steps)
    return "" if found == wanted else f"{found}, not {wanted}"


def _said(steps: tuple[Step, ...]) -> str:
    """Steps in words that leave out what hardly changes a picture."""
    match steps:
        case (Resize(shorter_edge=edge, longer_edge=None, interpolation="bilinear"), CenterCrop(height=h, width=w)) if (
            edge == h == w
        ):
            steps = (Fit(h, w),)
    words = []
    for step in steps:
        sizes = {name: value for name, value in asdict(step).items() if name in STEP_SIZES and value}
        words.append(" ".join([step.op, *(f"{name} {value}" for name, value in sizes.items())]))
        if isinstance(step, Resize):
            words[-1] += f" {step.interpolation.removesuffix('_exact')}"
    return ", ".join(words)


def _pixels(processor: Any, image: Image.Image) -> np.ndarray[Any, Any]:
    """What the network would see of a picture (C, H, W)."""
    made = np.asarray(processor(images=image, return_tensors="pt")["pixel_values"])
    if made.ndim != 4 or len(made) != 1:
        raise ValueError(f"it makes {made.shape} of one picture")
    first: np.ndarray[Any, Any] = made[0]
    return first


def _normalisation(processor: Any) -> tuple[Any, tuple[float, ...], tuple[float, ...]]:
    """Channel order, mean and standard deviation of pixels in [0, 1], measured on pictures of one colour."""
    plain = np.array([_colour(processor, (level,) * 3) for level in LEVELS])
    reds = _colour(processor, (255, 0, 0))
    if len(plain[0]) != 3:
        raise ValueError(f"it makes {len(plain[0])} channels")
    slope = (plain[-1] - plain[0]).astype(np.float64)
    line = plain[0] + np.outer(np.array(LEVELS) / 255, slope)
    if not np.allclose(plain, line, atol=1e-4) or not slope.all():
        raise ValueError("it changes colours other than by rescaling them")
    order = "RGB" if np.isclose(reds[0], plain[-1][0], atol=1e-5) else "BGR"
    expected = np.where(np.arange(3) == (0 if order == "RGB" else 2), plain[-1], plain[0])
    if not np.allclose(reds, expected, atol=1e-4):
        raise ValueError("it mixes the channels")
    turn = slice(None) if order == "RGB" else slice(None, None, -1)
    mean, std = (-plain[0] / slope)[turn], (1 / slope)[turn]
    return order, _rounded(mean), _rounded(std)


def _colour(processor: Any, colour: tuple[int, int, int]) -> np.ndarray[Any, Any]:
    """What the network sees of one colour (C,)."""
    made = _pixels(processor, Image.new("RGB", (512, 512), colour))
    inside = made[:, made.shape[1] // 2, made.shape[2] // 2]
    return inside.astype(np.float64)


def _rounded(values: np.ndarray[Any, Any]) -> tuple[float, ...]:
    """Six significant digits, which is what float32 measured, without the noise behind them."""
    return tuple(float(f"{value:.6g}") + 0.0 for value in values)


def _steps(processor: Any, name: str) -> tuple[Step, ...]:
    steps: list[Step] = []
    size, filter_name = dict(processor.size or {}), FILTERS[int(getattr(processor, "resample", None) or 0)]
    size = {key: value for key, value in size.items() if value}
    if getattr(processor, "do_resize", False):
        steps += _resize(processor, name, size, filter_name)
    if getattr(processor, "do_center_crop", False):
        crop = dict(processor.crop_size)
        steps.append(CenterCrop(crop["height"], crop["width"]))
    if getattr(processor, "do_pad", False):
        pad = dict(processor.pad_size or {})
        if not pad.get("height"):
            raise ValueError("it pads pictures to each other, not to a size (do_pad without pad_size)")
        steps.append(Pad(pad["height"], pad["width"]))
    return tuple(steps)


def _resize(processor: Any, name: str, size: dict[str, int], filter_name: Any) -> list[Step]:
    """The steps of `do_resize`; some classes enlarge by `crop_pct` or a fixed share, to cut afterwards."""

    def resize(**target: int) -> Resize:
        return Resize(**target, interpolation=filter_name, library="torchvision")  # type: ignore[arg-type]

    edge = size.get("shortest_edge")
    share: float = getattr(processor, "crop_pct", None) or 1
    if name.startswith("ConvNext") and edge:
        if edge >= CROP_FROM_EDGE:
            return [resize(height=edge, width=edge)]
        return [resize(shorter_edge=int(edge / share)), CenterCrop(edge, edge)]
    if name.startswith("PoolFormer"):
        return [resize(shorter_edge=int((edge or size["height"]) / share))]
    if name.startswith("Levit") and edge:
        return [resize(shorter_edge=int(256 / 224 * edge))]
    if size.keys() == {"height", "width"}:
        return [resize(height=size["height"], width=size["width"])]
    if size.keys() == {"shortest_edge"}:
        return [resize(shorter_edge=size["shortest_edge"])]
    raise ValueError(f"its size {size} is not one size for all pictures")
