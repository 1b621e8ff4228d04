"""What the owner of a network states where its file says nothing: labels, head, image or text input."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from triggers.errors import ModelError
from triggers.model.bundle import image_section
from triggers.model.head import Head, MultiLabelHead, ProbabilitiesHead, SigmoidHead, SoftmaxHead, output_table
from triggers.preprocessing import ImageSpec
from triggers.sources.source import WrapOptions

if TYPE_CHECKING:
    from torch import Tensor


def stated_image(options: WrapOptions, channels: int | None, height: int | None, width: int | None) -> ImageSpec:
    """The image input that the options state; sizes that the network's file fixes need not be. Raises ModelError."""
    if options.image is None:
        raise ModelError(
            "How are pictures prepared for this network? Its file does not say: give --image FILE.json or JSON, as "
            '\'{"size": 224, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}\' (docs/models.md).'
        )
    given = dict(options.image)
    scale = given.pop("range", 1)
    try:
        for part in ("mean", "std"):
            given[part] = [value / scale for value in given.get(part, ())]
        image = image_section(given)
    except (TypeError, ZeroDivisionError) as error:
        raise ModelError("--image cannot be used: mean and std are lists of numbers, range is a number") from error
    except ValidationError as error:
        raise ModelError(f"--image cannot be used: {first_fault(error)}") from error
    except ValueError as error:
        raise ModelError(f"--image cannot be used: {error}") from error
    wanted, shape = (channels, height, width), image.pixel_shape
    if any(one is not None and one != other for one, other in zip(wanted, shape, strict=True)):
        sizes = " x ".join(str(one or "any") for one in wanted)
        raise ModelError(f"--image gives pictures of {' x '.join(map(str, shape))}, the network takes {sizes}.")
    return image


def stated_weights(path: Path | None) -> dict[str, Tensor]:
    """The tensors of `--weights`, which are safetensors. Raises ModelError."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if path is None or path.suffix != ".safetensors":
        convert = "safetensors.torch.save_file(torch.load(FILE, weights_only=True), 'weights.safetensors')"
        raise ModelError(f"Give the weights as --weights FILE.safetensors; a .pth that you trust: {convert}")
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"The weights {path} cannot be read: {error}") from error


def output_count(network: Callable[[Tensor], object], image: ImageSpec) -> int:
    """The number of outputs that a network has for a picture as stated. Raises ModelError."""
    import torch

    try:
        outputs = network(torch.zeros(1, *image.pixel_shape))
    except Exception as error:  # whatever the network's own code raises is the reason
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        size = " x ".join(map(str, image.pixel_shape))
        raise ModelError(f"The network does not take pictures of {size}, as --image says: {reason}") from error
    return output_table(outputs).shape[1]


def stated_head(options: WrapOptions, outputs: int, activation: str | None) -> tuple[tuple[str, ...], Head, str]:
    """Labels and head that the options state, or that follow from the number of outputs. Raises ModelError.

    `activation` is the last step of the network where that makes probabilities: softmax or sigmoid.
    """
    labels = options.labels
    if options.head is not None:
        if labels is None:
            raise ModelError("Name the labels that --head makes: --labels A,B")
        try:
            head: Head = TypeAdapter(Head).validate_python(dict(options.head))
        except ValidationError as error:
            raise ModelError(f"--head cannot be used: {first_fault(error)}") from error
        if outputs not in head.widths(len(labels)):
            raise ModelError(
                f"A head {head.kind} of {len(labels)} labels takes {head.widths(len(labels))} outputs, "
                f"the network has {outputs}."
            )
        return labels, head, "--head"
    if labels is None or len(labels) != max(2, outputs):
        named = f"--labels names {len(labels)}" if labels else "--labels is missing"
        raise ModelError(f"The network has {outputs} outputs and {named}: name {max(2, outputs)} in order, A,B,...")
    return _usual(labels, options, outputs, activation)


def _usual(
    labels: tuple[str, ...], options: WrapOptions, outputs: int, activation: str | None
) -> tuple[tuple[str, ...], Head, str]:
    place = f"the network's last step ({activation or 'no softmax, no sigmoid'})"
    if options.label is not None:
        if options.label not in labels:
            raise ModelError(f"--label {options.label!r} is none of the labels: {', '.join(labels)}.")
        index, gives = labels.index(options.label), "probabilities" if activation == "sigmoid" else "logits"
        several = MultiLabelHead(outputs=outputs, index=index, gives=gives)
        return (f"not {options.label}", options.label), several, "--label: independent sigmoids"
    if activation == "sigmoid" and outputs > 1:
        raise ModelError(f"The network ends with independent sigmoids: choose one, --label {' | '.join(labels)}")
    if activation:
        return labels, ProbabilitiesHead(), place
    return labels, SigmoidHead() if outputs == 1 else SoftmaxHead(), place


def first_fault(error: ValidationError) -> str:
    """The first fault that pydantic found, and where."""
    fault = error.errors()[0]
    return ": ".join(filter(None, (".".join(str(part) for part in fault["loc"]), fault["msg"])))
