"""Operators of ONNX that cast, reshape, cut, gather and repeat."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from triggers.model.networks.onnx_network.arithmetic import Operator
from triggers.model.networks.onnx_network.refusal import Unsupported

Axes: TypeAlias = Sequence[int] | None


def _cast(x: Tensor, *, to: int, saturate: int = 1, round_mode: str = "up") -> Tensor:
    return x.to(dtype_of(to))


def _cast_like(x: Tensor, like: Tensor, *, saturate: int = 1, round_mode: str = "up") -> Tensor:
    return x.to(like.dtype)


def dtype_of(number: int) -> torch.dtype:
    """The torch type of an ONNX element type. Raises Unsupported."""
    names = {1: "float32", 2: "uint8", 3: "int8", 5: "int16", 6: "int32", 7: "int64", 9: "bool"}
    names |= {10: "float16", 11: "float64", 16: "bfloat16"}
    if number not in names:
        raise Unsupported(f"numbers of ONNX type {number} are not supported")
    found: torch.dtype = getattr(torch, names[number])
    return found


def _shape(x: Tensor, *, start: int = 0, end: int | None = None) -> Tensor:
    return torch.tensor(list(x.shape)[start:end], dtype=torch.int64)


def _size(x: Tensor) -> Tensor:
    return torch.tensor(x.numel())


def _reshape(x: Tensor, shape: list[int], *, allowzero: int = 0) -> Tensor:
    if not allowzero:
        shape = [x.shape[place] if size == 0 else size for place, size in enumerate(shape)]
    return x.reshape(shape)


def _flatten(x: Tensor, *, axis: int = 1) -> Tensor:
    axis = axis + x.ndim if axis < 0 else axis
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


def _transpose(x: Tensor, *, perm: Axes = None) -> Tensor:
    return x.permute(list(perm) if perm is not None else list(range(x.ndim))[::-1])


def _squeeze(x: Tensor, places: Axes = None, *, axes: Axes = None) -> Tensor:
    chosen = places if axes is None else axes
    if chosen is None and x.is_meta:
        raise Unsupported("without axes it would drop the batch dimension of one row alone")
    return x.squeeze() if chosen is None else x.squeeze(list(chosen))


def _unsqueeze(x: Tensor, places: Axes = None, *, axes: Axes = None) -> Tensor:
    chosen = (places if axes is None else axes) or []
    rank = x.ndim + len(chosen)
    for place in sorted(axis % rank for axis in chosen):
        x = x.unsqueeze(place)
    return x


def _concat(*tensors: Tensor, axis: int) -> Tensor:
    return torch.cat(tensors, axis)


def _split(
    x: Tensor, pieces: Sequence[int] | None = None, *, axis: int = 0, split: Sequence[int] | None = None,
    num_outputs: int | None = None, outputs: int,
) -> Sequence[Tensor]:  # fmt: skip
    sizes = pieces if split is None else split
    return torch.split(x, list(sizes) if sizes else -(-x.shape[axis] // (num_outputs or outputs)), axis)


def _slice(
    x: Tensor, starts_: Axes = None, ends_: Axes = None, axes_: Axes = None, steps: Axes = None, *,
    starts: Axes = None, ends: Axes = None, axes: Axes = None,
) -> Tensor:  # fmt: skip
    first, last = (starts_ if starts is None else starts) or [], (ends_ if ends is None else ends) or []
    places = axes_ if axes is None else axes
    for place, start, end, step in zip(
        places or range(len(first)), first, last, steps or [1] * len(first), strict=True
    ):
        index = range(x.shape[place])[slice(start, end if step > 0 or end >= -x.shape[place] else None, step)]
        if step > 0:
            x = x.narrow(place, min(index.start, x.shape[place]), max(0, index.stop - index.start))
            x = x if step == 1 else x[(slice(None),) * (place % x.ndim) + (slice(None, None, step),)]
        else:
            x = x.index_select(place, torch.tensor(list(index), dtype=torch.int64, device=x.device))
    return x


def _gather(x: Tensor, indices: Tensor | int | list[int], *, axis: int = 0) -> Tensor:
    if isinstance(indices, int):
        return x.select(axis, indices)
    if isinstance(indices, list):
        return x.narrow(axis, indices[0] % x.shape[axis], 1)
    flat = indices.reshape(-1).long()
    chosen = x.index_select(axis, torch.where(flat < 0, flat + x.shape[axis], flat))
    axis %= x.ndim
    return chosen.reshape(*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])


def _gather_elements(x: Tensor, indices: Tensor, *, axis: int = 0) -> Tensor:
    return x.gather(axis, torch.where(indices < 0, indices + x.shape[axis], indices).long())


def _gather_nd(x: Tensor, indices: Tensor, *, batch_dims: int = 0) -> Tensor:
    if batch_dims:
        raise Unsupported("batch_dims is not supported")
    return x[tuple(indices.long().unbind(-1))]


def _scatter_nd(x: Tensor, indices: Tensor, updates: Tensor, *, reduction: str = "none") -> Tensor:
    if reduction != "none":
        raise Unsupported(f"reduction {reduction} is not supported")
    return x.index_put(tuple(indices.long().unbind(-1)), updates)


def _expand(x: Tensor, shape: list[int]) -> Tensor:
    return x.expand(torch.broadcast_shapes(x.shape, shape))


def _tile(x: Tensor, repeats: list[int]) -> Tensor:
    return x.repeat(repeats)


def _where(condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.where(condition, a, b)


def _constant_of_shape(shape: list[int], *, value: Tensor | None = None) -> Tensor:
    filled = torch.zeros(1) if value is None else value
    return torch.full(shape, filled.item(), dtype=filled.dtype)


def _range(start: float, limit: float, step: float) -> Tensor:
    return torch.arange(start, limit, step)


def _identity(x: Tensor) -> Tensor:
    return x


def _dropout(x: Tensor, ratio: float | None = None, training: bool | None = None, *, seed=0, ratio_=0.0) -> Tensor:  # type: ignore[no-untyped-def]
    if training:
        raise Unsupported("it is in training mode: export the network in eval mode")
    return x


def _cumsum(x: Tensor, axis: int | list[int], *, exclusive: int = 0, reverse: int = 0) -> Tensor:
    place = axis if isinstance(axis, int) else axis[0]
    turned = x.flip(place) if reverse else x
    total = turned.cumsum(place, dtype=x.dtype)
    total = total - turned if exclusive else total
    return total.flip(place) if reverse else total


def _top_k(x: Tensor, k: list[int], *, axis: int = -1, largest: int = 1, sorted: int = 1) -> Sequence[Tensor]:
    return torch.topk(x, k[0], axis, largest=bool(largest), sorted=bool(sorted))


def _arg(function: Callable[..., Tensor]) -> Operator:
    def extreme(x: Tensor, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Tensor:
        if select_last_index:
            raise Unsupported("select_last_index is not supported")
        return function(x, dim=axis, keepdim=bool(keepdims))

    return extreme


def _trilu(x: Tensor, k: int = 0, *, upper: int = 1) -> Tensor:
    return torch.triu(x, k) if upper else torch.tril(x, k)


REARRANGEMENT: dict[str, Operator] = {
    "ArgMax": _arg(torch.argmax), "ArgMin": _arg(torch.argmin), "Cast": _cast, "CastLike": _cast_like, "Concat":
    _concat, "ConstantOfShape": _constant_of_shape, "CumSum": _cumsum, "Dropout": _dropout, "Expand": _expand,
    "Flatten": _flatten, "Gather": _gather, "GatherElements": _gather_elements, "GatherND": _gather_nd, "Identity":
    _identity, "Range": _range, "Reshape": _reshape, "ScatterND": _scatter_nd, "Shape": _shape, "Size": _size,
    "Slice": _slice, "Split": _split, "Squeeze": _squeeze, "Tile": _tile, "TopK": _top_k, "Transpose": _transpose,
    "Trilu": _trilu, "Unsqueeze": _unsqueeze, "Where": _where,
}  # fmt: skip
