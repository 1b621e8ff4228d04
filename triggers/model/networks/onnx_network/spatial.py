"""Convolutions, pools, padding and blocks of pixels of ONNX, over (N, C, H, W) and its kin of one and three lengths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from triggers.model.networks.onnx_network.arithmetic import Operator
from triggers.model.networks.onnx_network.refusal import Unsupported

_Ints = Sequence[int]


def _by_rank(rank: int, *functions: Callable[..., Any]) -> Callable[..., Any]:
    """The function for this number of lengths."""
    if not 1 <= rank <= len(functions):
        raise Unsupported(f"{rank} spatial dimensions are not supported")
    return functions[rank - 1]


def _sides(
    x: Tensor, kernel: _Ints, strides: _Ints, dilations: _Ints, pads: _Ints | None, auto_pad: str
) -> tuple[list[int], list[int]]:
    """Padding before and after every length."""
    rank = len(kernel)
    if auto_pad in ("NOTSET", "VALID"):
        given = list(pads or [0] * 2 * rank) if auto_pad == "NOTSET" else [0] * 2 * rank
        return given[:rank], given[rank:]
    if auto_pad not in ("SAME_UPPER", "SAME_LOWER"):
        raise Unsupported(f"auto_pad {auto_pad} is not supported")
    spread = [dilation * (size - 1) + 1 for size, dilation in zip(kernel, dilations, strict=True)]
    lengths = list(x.shape[2:])
    sums = [
        max(0, (-(-length // step) - 1) * step + size - length)
        for length, step, size in zip(lengths, strides, spread, strict=True)
    ]
    small, large = [each // 2 for each in sums], [each - each // 2 for each in sums]
    return (small, large) if auto_pad == "SAME_UPPER" else (large, small)


def _padded(x: Tensor, before: _Ints, after: _Ints, value: float = 0.0) -> Tensor:
    pairs = [side for pair in reversed(list(zip(before, after, strict=True))) for side in pair]
    return F.pad(x, pairs, value=value) if any(pairs) else x


def _conv(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, *, auto_pad: str = "NOTSET", dilations: _Ints | None = None,
    group: int = 1, kernel_shape: _Ints | None = None, pads: _Ints | None = None, strides: _Ints | None = None,
) -> Tensor:  # fmt: skip
    """`Conv`."""
    kernel = weight.shape[2:]
    ones = [1] * len(kernel)
    strides, dilations = strides or ones, dilations or ones
    before, after = _sides(x, kernel, strides, dilations, pads, auto_pad)
    if before != after:
        x, before = _padded(x, before, after), [0] * len(kernel)
    run = _by_rank(len(kernel), F.conv1d, F.conv2d, F.conv3d)
    made: Tensor = run(x, weight, bias, tuple(strides), tuple(before), tuple(dilations), group)
    return made


def _conv_transpose(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, *, auto_pad: str = "NOTSET", dilations: _Ints | None = None,
    group: int = 1, kernel_shape: _Ints | None = None, output_padding: _Ints | None = None, pads: _Ints | None = None,
    strides: _Ints | None = None,
) -> Tensor:  # fmt: skip
    """`ConvTranspose` without a given output shape."""
    ones = [1] * (weight.ndim - 2)
    if auto_pad not in ("NOTSET", "VALID"):
        raise Unsupported(f"auto_pad {auto_pad} is not supported")
    before, after = _sides(x, ones, ones, ones, pads, auto_pad)
    extra = output_padding or [0 for _ in ones]
    run = _by_rank(len(ones), F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)
    if before == after:
        made: Tensor = run(x, weight, bias, strides or ones, before, extra, group, dilations or ones)
        return made
    whole: Tensor = run(x, weight, bias, strides or ones, 0, extra, group, dilations or ones)
    for place, (start, end) in enumerate(zip(before, after, strict=True), 2):
        whole = whole.narrow(place, start, whole.shape[place] - start - end)
    return whole


def _max_pool(
    x: Tensor, *, kernel_shape: _Ints, auto_pad: str = "NOTSET", ceil_mode: int = 0, dilations: _Ints | None = None,
    pads: _Ints | None = None, storage_order: int = 0, strides: _Ints | None = None,
) -> Tensor:  # fmt: skip
    """`MaxPool`, without its indices."""
    ones = [1] * len(kernel_shape)
    steps, spread = strides or ones, dilations or ones
    before, after = _sides(x, kernel_shape, steps, spread, pads, auto_pad)
    if before != after or any(2 * side > size for side, size in zip(before, kernel_shape, strict=True)):
        lowest = float("-inf") if x.is_floating_point() else torch.iinfo(x.dtype).min
        x, before = _padded(x, before, after, lowest), [0 for _ in ones]
    run = _by_rank(len(ones), F.max_pool1d, F.max_pool2d, F.max_pool3d)
    made: Tensor = run(x, list(kernel_shape), list(steps), before, list(spread), bool(ceil_mode))
    return made


def _average_pool(
    x: Tensor, *, kernel_shape: _Ints, auto_pad: str = "NOTSET", ceil_mode: int = 0, count_include_pad: int = 0,
    dilations: _Ints | None = None, pads: _Ints | None = None, strides: _Ints | None = None,
) -> Tensor:  # fmt: skip
    """`AveragePool` without dilation."""
    ones = [1] * len(kernel_shape)
    if any(each != 1 for each in dilations or ones):
        raise Unsupported("dilations are not supported")
    steps = list(strides or ones)
    before, after = _sides(x, kernel_shape, steps, ones, pads, auto_pad)
    run = _by_rank(len(ones), F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)
    if before == after and all(2 * side <= size for side, size in zip(before, kernel_shape, strict=True)):
        made: Tensor = run(x, list(kernel_shape), steps, before, bool(ceil_mode), bool(count_include_pad))
        return made
    if ceil_mode:
        raise Unsupported("ceil_mode with pads that differ is not supported")
    sums: Tensor = run(_padded(x, before, after), list(kernel_shape), steps)
    if count_include_pad:
        return sums
    inside: Tensor = run(_padded(torch.ones_like(x[:1, :1]), before, after), list(kernel_shape), steps)
    return sums / inside


def _global_average_pool(x: Tensor) -> Tensor:
    """`GlobalAveragePool`."""
    return x.mean(list(range(2, x.ndim)), keepdim=True)


def _global_max_pool(x: Tensor) -> Tensor:
    """`GlobalMaxPool`."""
    return x.amax(list(range(2, x.ndim)), keepdim=True)


def _pad(
    x: Tensor, sides: _Ints | None = None, constant: float | list[float] | None = None, axes: _Ints | None = None, *,
    mode: str = "constant", pads: _Ints | None = None, value: float = 0.0,
) -> Tensor:  # fmt: skip
    """`Pad`; negative sides cut."""
    given = list((sides if pads is None else pads) or [])
    places = list(range(x.ndim)) if axes is None else [axis % x.ndim for axis in axes]
    fill = constant[0] if isinstance(constant, list) else value if constant is None else constant
    for place, before, after in zip(places, given[: len(places)], given[len(places) :], strict=True):
        if before or after:
            x = _pad_one(x, place, before, after, mode, fill)
    return x


def _pad_one(x: Tensor, place: int, before: int, after: int, mode: str, fill: float) -> Tensor:
    if mode == "constant":
        return F.pad(x, [0, 0] * (x.ndim - 1 - place) + [before, after], value=fill)
    length = x.shape[place]
    index = torch.arange(-before, length + after, device=x.device)
    if mode == "edge":
        index = index.clamp(0, length - 1)
    elif mode == "reflect" and length > 1:
        index = (index.abs() - 2 * (length - 1) * (index.abs() // (2 * (length - 1)))).abs()
        index = torch.where(index >= length, 2 * (length - 1) - index, index)
    elif mode == "wrap":
        index = index % length
    else:
        raise Unsupported(f"mode {mode} is not supported")
    return x.index_select(place, index)


def _depth_to_space(x: Tensor, *, blocksize: int, mode: str = "DCR") -> Tensor:
    """`DepthToSpace`."""
    rows, channels, height, width = x.shape
    if mode == "CRD":
        return F.pixel_shuffle(x, blocksize)
    blocks = x.reshape(rows, blocksize, blocksize, channels // blocksize**2, height, width)
    return blocks.permute(0, 3, 4, 1, 5, 2).reshape(rows, -1, height * blocksize, width * blocksize)


def _space_to_depth(x: Tensor, *, blocksize: int, mode: str = "DCR") -> Tensor:
    """`SpaceToDepth`."""
    rows, channels, height, width = x.shape
    if mode != "DCR":
        return F.pixel_unshuffle(x, blocksize)
    blocks = x.reshape(rows, channels, height // blocksize, blocksize, width // blocksize, blocksize)
    return blocks.permute(0, 3, 5, 1, 2, 4).reshape(rows, -1, height // blocksize, width // blocksize)


SPATIAL: dict[str, Operator] = {
    "AveragePool": _average_pool, "Conv": _conv, "ConvTranspose": _conv_transpose, "DepthToSpace": _depth_to_space,
    "GlobalAveragePool": _global_average_pool, "GlobalMaxPool": _global_max_pool, "MaxPool": _max_pool, "Pad": _pad,
    "SpaceToDepth": _space_to_depth,
}  # fmt: skip
