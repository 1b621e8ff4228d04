"""`Resize` of ONNX: every output is a weighted sum of inputs along one axis after the other.

The weights follow the operator's definition: coordinates, kernel, what is outside, and a kernel widened against
aliasing. They are computed in double precision and depend on lengths only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from triggers.model.networks.onnx_network.arithmetic import Operator
from triggers.model.networks.onnx_network.refusal import Unsupported

_Ints = Sequence[int]
_Floats = Sequence[float]


def _resize(
    x: Tensor, roi: _Floats | None = None, scales: _Floats | None = None, sizes: _Ints | None = None, *,
    antialias: int = 0, axes: _Ints | None = None, coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75, exclude_outside: int = 0, extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch", mode: str = "nearest", nearest_mode: str = "round_prefer_floor",
) -> Tensor:  # fmt: skip
    """`Resize` from opset 11, except for cropping and for keeping an aspect ratio."""
    if coordinate_transformation_mode == "tf_crop_and_resize" or keep_aspect_ratio_policy != "stretch":
        raise Unsupported(f"{coordinate_transformation_mode}, {keep_aspect_ratio_policy} is not supported")
    places = list(range(x.ndim)) if axes is None else [axis % x.ndim for axis in axes]
    kernel = (mode, nearest_mode) if mode == "nearest" else (mode, str(float(cubic_coeff_a)))
    for number, place in enumerate(places):
        length = x.shape[place]
        scale = scales[number] if scales else sizes[number] / length if sizes else 1.0
        wanted = sizes[number] if sizes else math.floor(length * scale)
        if scale == 1 and wanted == length:
            continue
        rows = _weights(
            length, wanted, scale, kernel, coordinate_transformation_mode, bool(exclude_outside), bool(antialias)
        )
        x = _along(x, place, rows)
    return x


def _upsample(
    x: Tensor, factors: _Floats | None = None, *, scales: _Floats | None = None, mode: str = "nearest"
) -> Tensor:
    """`Upsample`, which `Resize` replaced."""
    return _resize_10(x, factors or scales, mode=mode)


def _resize_10(x: Tensor, scales: _Floats | None = None, *, mode: str = "nearest") -> Tensor:
    """`Resize` of opset 10, which had one way to count coordinates."""
    return _resize(x, None, scales, coordinate_transformation_mode="asymmetric", mode=mode, nearest_mode="floor")


def _along(x: Tensor, place: int, weights: Tensor) -> Tensor:
    """Weights (outputs, inputs) applied to one axis."""
    if bool(((weights == 1).sum(1) == 1).all()) and bool(((weights != 0).sum(1) == 1).all()):
        return x.index_select(place, weights.argmax(1).to(x.device))
    mixed: Tensor = torch.tensordot(x, weights.to(device=x.device, dtype=x.dtype), dims=([place], [1]))
    return mixed.movedim(-1, place)


@lru_cache(maxsize=64)
def _weights(
    length: int, wanted: int, scale: float, kernel: tuple[str, str], coordinates: str, inside_only: bool, smooth: bool
) -> Tensor:
    rows = torch.zeros(wanted, length, dtype=torch.float64)
    for output in range(wanted):
        at = _coordinate(output, length, wanted, scale, coordinates)
        if kernel[0] == "nearest":
            rows[output, min(max(_nearest(at, kernel[1]), 0), length - 1)] = 1
            continue
        for place, weight in _taps(at, kernel, min(scale, 1.0) if smooth else 1.0, length, inside_only):
            rows[output, min(max(place, 0), length - 1)] += weight
    return rows


def _coordinate(output: int, length: int, wanted: int, scale: float, mode: str) -> float:
    if mode == "align_corners":
        return 0.0 if wanted == 1 else output * (length - 1) / (length * scale - 1)
    if mode == "asymmetric":
        return output / scale
    if mode == "pytorch_half_pixel" and wanted == 1:
        return -0.5
    if mode in ("half_pixel", "pytorch_half_pixel"):
        return (output + 0.5) / scale - 0.5
    if mode == "half_pixel_symmetric":
        shown = wanted / (length * scale)
        return length / 2 * (1 - shown) + (output + 0.5) / scale - 0.5
    raise Unsupported(f"coordinate_transformation_mode {mode} is not supported")


def _nearest(at: float, mode: str) -> int:
    if mode == "round_prefer_floor":
        return math.ceil(at - 0.5)
    rounding = {"round_prefer_ceil": lambda: math.floor(at + 0.5), "floor": lambda: math.floor(at)}
    rounding["ceil"] = lambda: math.ceil(at)
    return rounding[mode]()


def _taps(at: float, kernel: tuple[str, str], narrow: float, length: int, inside_only: bool) -> list[tuple[int, float]]:
    """Places and weights around a coordinate, of sum 1."""
    reach = (2 if kernel[0] == "cubic" else 1) / narrow
    places = range(math.floor(at - reach) + 1, math.ceil(at + reach))
    if inside_only:
        places = range(max(places.start, 0), min(places.stop, length))
    found = [(place, _kernel((place - at) * narrow, kernel)) for place in places]
    total = sum(weight for _, weight in found)
    return [(place, weight / total) for place, weight in found]


def _kernel(distance: float, kernel: tuple[str, str]) -> float:
    d = abs(distance)
    if kernel[0] == "linear":
        return max(0.0, 1 - d)
    a = float(kernel[1])
    if d <= 1:
        return ((a + 2) * d - (a + 3)) * d * d + 1
    return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a if d < 2 else 0.0


RESIZING: dict[str, Operator] = {
    "Resize": _resize, "Resize<11": _resize_10, "Upsample": _upsample,
}  # fmt: skip
