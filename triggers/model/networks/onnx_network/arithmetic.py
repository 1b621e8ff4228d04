"""Sums, products, comparisons and activations of ONNX, number by number or along one axis."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

Operator: TypeAlias = Callable[..., Any]


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
    if beta == 0.5 and math.isclose(alpha, 1 / 6, rel_tol=1e-6):
        return F.hardsigmoid(x)
    return torch.clamp(alpha * x + beta, 0, 1)


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
        return flat.reshape(x.shape)

    return of_flat


def _gemm(
    a: Tensor, b: Tensor, c: Tensor | None = None, *,
    alpha: float = 1.0, beta: float = 1.0, transA: int = 0, transB: int = 0,
) -> Tensor:  # fmt: skip
    a, b = a.t() if transA else a, b.t() if transB else b
    if alpha == 1 and beta == 1 and c is not None and c.ndim == 1:
        return torch.addmm(c, a, b)
    product = alpha * (a @ b)
    return product if c is None else product + beta * c


def _einsum(*tensors: Tensor, equation: str) -> Tensor:
    return torch.einsum(equation, *tensors)


ARITHMETIC: dict[str, Operator] = {
    "Abs": torch.abs, "Add": torch.add, "And": torch.logical_and, "Ceil": torch.ceil, "Celu": _celu, "Clip": _clip,
    "Cos": torch.cos, "Div": _div, "Einsum": _einsum, "Elu": _elu, "Equal": torch.eq, "Erf": torch.erf, "Exp":
    torch.exp, "Floor": torch.floor, "Gelu": _gelu, "Gemm": _gemm, "Greater": torch.gt, "GreaterOrEqual": torch.ge,
    "HardSigmoid": _hard_sigmoid, "HardSwish": F.hardswish, "LeakyRelu": _leaky_relu, "Less": torch.lt,
    "LessOrEqual": torch.le, "Log": torch.log, "LogSoftmax": _log_softmax, "LogSoftmax<13":
    _over_the_rest(_log_softmax), "MatMul": torch.matmul, "Max": _fold(torch.maximum), "Mean": _mean, "Min":
    _fold(torch.minimum), "Mish": F.mish, "Mod": _mod, "Mul": torch.mul, "Neg": torch.neg, "Not": torch.logical_not,
    "Or": torch.logical_or, "PRelu": _prelu, "Pow": _pow, "Reciprocal": torch.reciprocal, "Relu": torch.relu,
    "Round": torch.round, "Selu": _selu, "Sigmoid": torch.sigmoid, "Sign": torch.sign, "Sin": torch.sin, "Softmax":
    _softmax, "Softmax<13": _over_the_rest(_softmax), "Softplus": F.softplus, "Softsign": F.softsign, "Sqrt":
    torch.sqrt, "Sub": torch.sub, "Sum": _fold(torch.add), "Swish": _swish, "Tanh": torch.tanh, "ThresholdedRelu":
    _thresholded_relu, "Xor": torch.logical_xor,
}  # fmt: skip
