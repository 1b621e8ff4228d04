"""Operators of ONNX as functions of torch: inputs as arguments in order, attributes as keywords of the same names.

What a function does not name, it cannot do: a node with another input or attribute is refused when the file is loaded.
Inputs that say a shape, axes, a number of pieces and the like arrive as Python numbers (`HOST`), all others as tensors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from triggers.model.onnx_network import resize, spatial
from triggers.model.onnx_network.refusal import Unsupported

Operator: TypeAlias = Callable[..., Any]
Axes: TypeAlias = Sequence[int] | None

HOST: dict[str, frozenset[int]] = {
    name: frozenset(places)
    for name, places in {
        "Clip": [1, 2],
        "ConstantOfShape": [0],
        "CumSum": [1],
        "Dropout": [1, 2],
        "Expand": [1],
        "Pad": [1, 2, 3],
        "Range": [0, 1, 2],
        "Reshape": [1],
        "Resize": [1, 2, 3],
        "Slice": [1, 2, 3, 4],
        "Split": [1],
        "Squeeze": [1],
        "Tile": [1],
        "TopK": [1],
        "Trilu": [1],
        "Unsqueeze": [1],
        "Upsample": [1],
    }.items()
}
"""Places of inputs that are taken as Python numbers; the axes of every reduction besides."""

CREATORS = frozenset(["ConstantOfShape", "Range", "Shape", "Size"])
"""Operators that make tensors from numbers alone."""


def _fold(function: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    def of_all(first: Tensor, *others: Tensor) -> Tensor:
        for other in others:
            first = function(first, other)
        return first

    return of_all


def _mean(*tensors: Tensor) -> Tensor:
    return _fold(torch.add)(*tensors) / len(tensors)  # type: ignore[no-any-return]


def _div(a: Tensor, b: Tensor) -> Tensor:
    return torch.div(a, b, rounding_mode=None if a.is_floating_point() else "trunc")


def _mod(a: Tensor, b: Tensor, *, fmod: int = 0) -> Tensor:
    return torch.fmod(a, b) if fmod else torch.remainder(a, b)


def _pow(a: Tensor, b: Tensor) -> Tensor:
    return torch.pow(a, b).to(a.dtype)


def _clip(
    x: Tensor, low: float | None = None, high: float | None = None, *,
    min: float | None = None, max: float | None = None,
) -> Tensor:  # fmt: skip
    low, high = (low if min is None else min), (high if max is None else max)
    return x if low is None and high is None else torch.clamp(x, low, high)


def _leaky_relu(x: Tensor, *, alpha: float = 0.01) -> Tensor:
    return F.leaky_relu(x, alpha)


def _prelu(x: Tensor, slope: Tensor) -> Tensor:
    return torch.where(x < 0, x * slope, x)


def _elu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    return F.elu(x, alpha)


def _celu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    return F.celu(x, alpha)


def _selu(x: Tensor, *, alpha: float = 1.67326319217681884765625, gamma: float = 1.05070102214813232421875) -> Tensor:
    return gamma * F.elu(x, alpha)


def _thresholded_relu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    return torch.where(x > alpha, x, torch.zeros_like(x))


def _hard_sigmoid(x: Tensor, *, alpha: float = 0.2, beta: float = 0.5) -> Tensor:
    return torch.clamp(alpha * x + beta, 0, 1)


def _hard_swish(x: Tensor) -> Tensor:
    return x * _hard_sigmoid(x, alpha=1 / 6)


def _swish(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    return x * torch.sigmoid(alpha * x)


def _gelu(x: Tensor, *, approximate: str = "none") -> Tensor:
    return F.gelu(x, approximate=approximate)


def _softmax(x: Tensor, *, axis: int = -1) -> Tensor:
    return torch.softmax(x, axis)


def _log_softmax(x: Tensor, *, axis: int = -1) -> Tensor:
    return torch.log_softmax(x, axis)


def _over_the_rest(function: Operator) -> Operator:
    """Before opset 13 all axes from `axis` on counted as one."""

    def of_flat(x: Tensor, *, axis: int = 1) -> Tensor:
        flat: Tensor = function(x.flatten(axis % x.ndim), axis=axis % x.ndim)
        return flat.view(x.shape)

    return of_flat


def _gemm(
    a: Tensor,
    b: Tensor,
    c: Tensor | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA=0,
    transB=0,  # type: ignore[no-untyped-def]
) -> Tensor:
    a, b = a.t() if transA else a, b.t() if transB else b
    if alpha == 1 and beta == 1 and c is not None and c.ndim == 1:
        return torch.addmm(c, a, b)
    product = alpha * (a @ b)
    return product if c is None else product + beta * c


def _einsum(*tensors: Tensor, equation: str) -> Tensor:
    return torch.einsum(equation, *tensors)


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
    if sizes is None:
        return x.split(-(-x.shape[axis] // (num_outputs or outputs)), axis)
    return x.split(list(sizes), axis)


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


def _reduce(function: Callable[[Tensor, list[int], bool], Tensor]) -> Operator:
    def over_axes(x: Tensor, places: Axes = None, *, axes: Axes = None, keepdims=1, noop_with_empty_axes=0) -> Tensor:  # type: ignore[no-untyped-def]
        chosen = list((places if axes is None else axes) or [])
        if not chosen and noop_with_empty_axes:
            return function(x.unsqueeze(0), [0], False)
        return function(x, chosen or list(range(x.ndim)), bool(keepdims))

    return over_axes


def _product(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    for axis in sorted((axis % x.ndim for axis in axes), reverse=True):
        x = x.prod(axis, keepdim=keep, dtype=x.dtype)
    return x


def _batch_norm(
    x: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, variance: Tensor, *,
    epsilon: float = 1e-5, momentum: float = 0.9, training_mode: int = 0, spatial: int = 1,
) -> Tensor:  # fmt: skip
    if training_mode or not spatial:
        raise Unsupported("it is in training mode: export the network in eval mode")
    return F.batch_norm(x, mean, variance, scale, shift, False, 0.0, epsilon)


def _instance_norm(x: Tensor, scale: Tensor, shift: Tensor, *, epsilon: float = 1e-5) -> Tensor:
    return F.instance_norm(x, weight=scale, bias=shift, eps=epsilon)


def _layer_norm(
    x: Tensor, scale: Tensor, shift: Tensor | None = None, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Tensor:
    shape = x.shape[axis:]
    return F.layer_norm(x, shape, scale.expand(shape), None if shift is None else shift.expand(shape), epsilon)


def _rms_norm(x: Tensor, scale: Tensor, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1) -> Tensor:
    return F.rms_norm(x, x.shape[axis:], None, epsilon) * scale


def _group_norm(
    x: Tensor, scale: Tensor, shift: Tensor, *, num_groups: int, epsilon: float = 1e-5, stash_type: int = 1
) -> Tensor:
    return F.group_norm(x, num_groups, scale, shift, epsilon)


def _group_norm_18(x: Tensor, scale: Tensor, shift: Tensor, *, num_groups: int, epsilon: float = 1e-5) -> Tensor:
    each = x.shape[1] // num_groups  # scale and shift were of groups, not of channels
    return F.group_norm(x, num_groups, scale.repeat_interleave(each), shift.repeat_interleave(each), epsilon)


def _lrn(x: Tensor, *, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0) -> Tensor:
    before = (size - 1) // 2
    squares = F.pad(x.square(), [0, 0] * (x.ndim - 2) + [before, size - 1 - before])
    return x / (bias + alpha / size * squares.unfold(1, size, 1).sum(-1)) ** beta


def _lp_norm(x: Tensor, *, axis: int = -1, p: int = 2) -> Tensor:
    length = x.norm(p, dim=axis, keepdim=True)
    return torch.where(length == 0, x, x / length)


OPERATORS: dict[str, Operator] = {
    "Abs": torch.abs, "Add": torch.add, "And": torch.logical_and, "ArgMax": _arg(torch.argmax),
    "ArgMin": _arg(torch.argmin), "AveragePool": spatial.average_pool, "BatchNormalization": _batch_norm,
    "Cast": _cast, "CastLike": _cast_like, "Ceil": torch.ceil, "Celu": _celu, "Clip": _clip, "Concat": _concat,
    "ConstantOfShape": _constant_of_shape, "Conv": spatial.conv, "ConvTranspose": spatial.conv_transpose,
    "Cos": torch.cos, "CumSum": _cumsum, "DepthToSpace": spatial.depth_to_space, "Div": _div, "Dropout": _dropout,
    "Einsum": _einsum, "Elu": _elu, "Equal": torch.eq, "Erf": torch.erf, "Exp": torch.exp, "Expand": _expand,
    "Flatten": _flatten, "Floor": torch.floor, "Gather": _gather, "GatherElements": _gather_elements,
    "GatherND": _gather_nd, "Gelu": _gelu, "Gemm": _gemm, "GlobalAveragePool": spatial.global_average_pool,
    "GlobalMaxPool": spatial.global_max_pool, "Greater": torch.gt, "GreaterOrEqual": torch.ge,
    "GroupNormalization": _group_norm, "HardSigmoid": _hard_sigmoid, "HardSwish": _hard_swish,
    "Identity": _identity, "InstanceNormalization": _instance_norm, "LRN": _lrn,
    "LayerNormalization": _layer_norm, "LeakyRelu": _leaky_relu, "Less": torch.lt, "LessOrEqual": torch.le,
    "Log": torch.log, "LogSoftmax": _log_softmax, "LpNormalization": _lp_norm, "MatMul": torch.matmul,
    "Max": _fold(torch.maximum), "MaxPool": spatial.max_pool, "Mean": _mean, "Min": _fold(torch.minimum),
    "Mish": F.mish, "Mod": _mod, "Mul": torch.mul, "Neg": torch.neg, "Not": torch.logical_not,
    "Or": torch.logical_or, "PRelu": _prelu, "Pad": spatial.pad, "Pow": _pow, "RMSNormalization": _rms_norm,
    "Range": _range, "Reciprocal": torch.reciprocal, "Relu": torch.relu, "Reshape": _reshape,
    "Resize": resize.resize, "Round": torch.round, "ScatterND": _scatter_nd, "Selu": _selu, "Shape": _shape, "Sigmoid": torch.sigmoid,
    "Sign": torch.sign, "Sin": torch.sin, "Size": _size, "Slice": _slice, "Softmax": _softmax,
    "Softplus": F.softplus, "Softsign": F.softsign, "SpaceToDepth": spatial.space_to_depth, "Split": _split,
    "Sqrt": torch.sqrt, "Squeeze": _squeeze, "Sub": torch.sub, "Sum": _fold(torch.add), "Swish": _swish,
    "Tanh": torch.tanh, "ThresholdedRelu": _thresholded_relu, "Tile": _tile, "TopK": _top_k,
    "Transpose": _transpose, "Trilu": _trilu, "Unsqueeze": _unsqueeze, "Upsample": resize.upsample,
    "Where": _where, "Xor": torch.logical_xor,
}  # fmt: skip

REDUCTIONS: dict[str, Operator] = {
    "ReduceL1": _reduce(lambda x, axes, keep: x.abs().sum(axes, keepdim=keep, dtype=x.dtype)),
    "ReduceL2": _reduce(lambda x, axes, keep: x.square().sum(axes, keepdim=keep).sqrt()),
    "ReduceLogSum": _reduce(lambda x, axes, keep: x.sum(axes, keepdim=keep).log()),
    "ReduceLogSumExp": _reduce(lambda x, axes, keep: x.logsumexp(axes, keepdim=keep)),
    "ReduceMax": _reduce(lambda x, axes, keep: x.amax(axes, keepdim=keep)),
    "ReduceMean": _reduce(lambda x, axes, keep: x.mean(axes, keepdim=keep)),
    "ReduceMin": _reduce(lambda x, axes, keep: x.amin(axes, keepdim=keep)),
    "ReduceProd": _reduce(_product),
    "ReduceSum": _reduce(lambda x, axes, keep: x.sum(axes, keepdim=keep, dtype=x.dtype)),
    "ReduceSumSquare": _reduce(lambda x, axes, keep: x.square().sum(axes, keepdim=keep, dtype=x.dtype)),
}
OPERATORS.update(REDUCTIONS)
HOST.update({name: frozenset([1]) for name in REDUCTIONS})

EARLIER: dict[tuple[str, int], Operator] = {
    ("GroupNormalization", 21): _group_norm_18,
    ("LogSoftmax", 13): _over_the_rest(_log_softmax),
    ("Resize", 11): resize.resize_10,
    ("Softmax", 13): _over_the_rest(_softmax),
}
"""Operators that meant something else before an opset: (name, opset) to what it was."""


def operator(name: str, opset: int) -> Operator:
    """The function of an operator in an opset. Raises KeyError for an unknown name."""
    for (earlier, before), function in EARLIER.items():
        if earlier == name and opset < before:
            return function
    return OPERATORS[name]
