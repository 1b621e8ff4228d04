"""The calls of an exported graph: which operators may run, and their arguments as the file writes them."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from triggers.errors import ModelError
from triggers.model.networks.exported_program.pt2_archive import DTYPES

HOW_TO_EXPORT = (
    "export it in eval mode with a free number of rows, from two images: torch.export.save(torch.export.export("
    "model.eval(), (images,), dynamic_shapes=({0: torch.export.Dim('batch')},)), 'model.pt2')"
)
MEMORY_FORMATS = {
    1: torch.contiguous_format, 2: torch.channels_last, 3: torch.channels_last_3d, 4: torch.preserve_format,
}  # fmt: skip
NUMBERS: dict[str, Callable[..., Any]] = {
    f"_operator.{name}": getattr(operator, name)
    for name in "add sub mul floordiv mod neg truediv eq ne lt le gt ge pow".split()
}
ATEN = frozenset(
    """_log_softmax _softmax _to_copy _unsafe_view _upsample_bicubic2d_aa _upsample_bilinear2d_aa abs
    adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool2d add addmm alias amax amin arange
    argmax argmin avg_pool1d avg_pool2d avg_pool3d baddbmm batch_norm bitwise_and bitwise_not bitwise_or bmm cat
    ceil celu channel_shuffle chunk clamp clamp_max clamp_min clone constant_pad_nd contiguous conv1d conv2d conv3d
    conv_transpose1d conv_transpose2d conv_transpose3d convolution cos cumsum diagonal div dropout einsum elu
    embedding eq erf exp expand expand_as feature_dropout fill flatten flip floor floor_divide fmod full full_like
    gather ge gelu glu group_norm gt hardsigmoid hardswish hardtanh index index_put index_select instance_norm
    layer_norm le leaky_relu lift_fresh_copy linalg_vector_norm linear log log10 log1p log2 log_sigmoid log_softmax
    logical_and logical_not logical_or logit logsumexp lt masked_fill matmul max max_pool1d max_pool2d max_pool3d
    maximum mean min minimum mish mm movedim mul narrow native_group_norm native_layer_norm ne neg new_full new_ones
    new_zeros norm numpy_T ones ones_like pad permute pixel_shuffle pixel_unshuffle pow prelu reciprocal
    reflection_pad1d reflection_pad2d reflection_pad3d relu relu6 remainder repeat repeat_interleave
    replication_pad1d replication_pad2d replication_pad3d reshape rms_norm roll rsqrt rsub scalar_tensor
    scaled_dot_product_attention select select_scatter selu sigmoid sign silu sin slice slice_scatter softmax
    softplus split split_with_sizes sqrt square squeeze stack std std_mean sub sum swapaxes swapdims sym_numel
    sym_size t tanh tensor_split threshold to transpose tril triu true_divide trunc type_as unbind unflatten unfold
    unsqueeze upsample_bicubic2d upsample_bilinear2d upsample_linear1d upsample_nearest1d upsample_nearest2d var
    var_mean view view_as where zeros zeros_like
    """.split()
)
"""Operators that may run, each with its variants, also in place."""
CHECKS = ("_assert_", "sym_constrain_range")
RANDOM = {"dropout": "train", "feature_dropout": "train", "scaled_dot_product_attention": "dropout_p"}
"""Operators that draw random numbers unless this argument is zero or false."""

Value = Any
"""A tensor, a number, or a list of either, as an operator takes and makes them."""


@dataclass(frozen=True)
class Call:
    """One operator, its arguments as the file writes them, and the names of what it makes."""

    target: str
    function: Callable[..., Any]
    arguments: tuple[tuple[str, Any], ...]
    keywords: tuple[tuple[str, str, Any], ...]
    outputs: tuple[str, ...]
    listed: bool


@dataclass(frozen=True)
class Context:
    """Turns arguments as the file writes them into values: names looked up, numbers of types and devices replaced."""

    values: Mapping[str, Value]
    device: torch.device
    file_dtype: torch.dtype
    dtype: torch.dtype

    def value(self, kind: str, written: Any) -> Value:
        if kind in PLAIN:
            return written
        made: Value = READERS[kind](self, written)
        return made

    def _named(self, written: Any) -> Value:
        return self.values[written["name"]]

    def _symbol(self, written: Mapping[str, Any]) -> Value:
        return self.values[written["as_name"]] if "as_name" in written else next(iter(written.values()))

    def _dtype(self, number: int) -> torch.dtype:
        found = DTYPES[number]
        return self.dtype if found == self.file_dtype else found

    def _optional(self, written: Mapping[str, Any]) -> Value:
        return self._named(written["as_tensor"]) if "as_tensor" in written else None


PLAIN = frozenset(["as_int", "as_ints", "as_float", "as_floats", "as_bool", "as_bools", "as_string", "as_int_lists"])
READERS: dict[str, Callable[[Context, Any], Value]] = {
    "as_device": lambda context, _: context.device,
    "as_layout": lambda *_: torch.strided,
    "as_memory_format": lambda _, number: MEMORY_FORMATS[number],
    "as_none": lambda *_: None,
    "as_optional_tensor": Context._optional,
    "as_optional_tensors": lambda context, all_: [context._optional(each) for each in all_],
    "as_scalar_type": Context._dtype,
    "as_sym_bool": Context._symbol,
    "as_sym_float": Context._symbol,
    "as_sym_int": Context._symbol,
    "as_sym_ints": lambda context, all_: [context._symbol(each) for each in all_],
    "as_tensor": Context._named,
    "as_tensors": lambda context, all_: [context._named(each) for each in all_],
}


def call_of(node: Mapping[str, Any]) -> Call:
    """One call of the graph. Raises ModelError for an operator that may not run."""
    target, name = node["target"], base_name(node["target"])
    if target in NUMBERS:
        function = NUMBERS[target]
    elif name in ATEN:
        _, _, _, packet, overload = target.split(".")
        function = getattr(getattr(torch.ops.aten, packet), overload)
    else:
        raise ModelError(f"its operator {target} is not supported: try ONNX")
    inputs = {entry["name"]: next(iter(entry["arg"].items())) for entry in node["inputs"]}
    drawn = inputs.get(RANDOM.get(name, "training"), ("as_none", True))[1]
    if drawn and ((name in RANDOM and RANDOM[name] in inputs) or "training" in inputs):
        raise ModelError(f"{target} is in training mode: {HOW_TO_EXPORT}")
    if unknown := [kind for kind, _ in inputs.values() if kind not in PLAIN and kind not in READERS]:
        raise ModelError(f"{target} has arguments of the kind {unknown[0]}, which are not supported: try ONNX")
    by_place = [entry["name"] for entry in node["inputs"] if entry.get("kind") == 1 or target in NUMBERS]
    made = node["outputs"]
    listed = len(made) == 1 and "as_tensors" in made[0]
    names = [each["name"] for each in made[0]["as_tensors"]] if listed else [_output(each) for each in made]
    return Call(
        target,
        function,
        tuple(inputs[each] for each in by_place),
        tuple((each, *written) for each, written in inputs.items() if each not in by_place),
        tuple(names),
        listed,
    )


def _output(written: Mapping[str, Any]) -> str:
    ((_, value),) = written.items()
    return str(value.get("name") or value["as_name"]) if isinstance(value, Mapping) else ""


def base_name(target: str) -> str:
    found = re.fullmatch(r"torch\.ops\.aten\.(\w+?)_?\.\w+", target)
    return found[1] if found else ""


def is_check(target: str) -> bool:
    return target.startswith(tuple(f"torch.ops.aten.{name}" for name in CHECKS))
