"""Sums over axes and normalisations of ONNX."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from triggers.model.networks.onnx_network.arithmetic import Operator
from triggers.model.networks.onnx_network.rearrangement import Axes
from triggers.model.networks.onnx_network.refusal import Unsupported


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


NORMALISATIONS: dict[str, Operator] = {
    "BatchNormalization": _batch_norm, "GroupNormalization": _group_norm, "GroupNormalization<21": _group_norm_18,
    "InstanceNormalization": _instance_norm, "LRN": _lrn, "LayerNormalization": _layer_norm, "LpNormalization":
    _lp_norm, "RMSNormalization": _rms_norm,
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
