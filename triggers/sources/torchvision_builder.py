"""A source that is a torchvision builder with a file of weights and the preset that the weights were trained with.

A preset's transforms are followed as torchvision's documentation runs them, on the decoded picture as a tensor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from triggers.errors import ModelError
from triggers.model.bundle import WEIGHTS_FILE, TorchvisionLoader
from triggers.model.head import SigmoidHead, SoftmaxHead
from triggers.model.networks.checkpoint import load_weights
from triggers.preprocessing import ImageSpec
from triggers.preprocessing.image_spec import CenterCrop, Resize
from triggers.sources.oracles import Oracle, RawInput, open_rgb
from triggers.sources.source import ModelSource, WrapOptions
from triggers.sources.stated import stated_weights

PREFIX = "torchvision:"
USUAL_OUTPUTS = 1000


def read_torchvision(builder: str, options: WrapOptions) -> ModelSource:
    """The source of `torchvision:BUILDER` with `--weights FILE`. Raises ModelError."""
    from torchvision.models import get_model, get_model_weights, list_models

    if builder not in list_models():
        raise ModelError(f"torchvision has no model {builder!r}; torchvision.models.list_models() names them.")
    state = stated_weights(options.weights)
    preset = _preset(list(get_model_weights(builder)), builder, options)
    image = _image_spec(preset)
    arguments = {"num_classes": _outputs(builder, state), **options.arguments}
    try:
        network = get_model(builder, weights=None, **arguments)
        load_weights(network, state)
    except (RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"{options.weights} does not fit {builder} with {arguments}: {reason}") from error
    labels, place = _labels(preset, arguments["num_classes"], options)
    return ModelSource(
        name=builder,
        modality="image",
        loader=TorchvisionLoader(kind="torchvision", builder=builder, kwargs=arguments),
        labels=labels,
        head=SigmoidHead() if arguments["num_classes"] == 1 else SoftmaxHead(),
        copy=partial(_copy, state),
        oracle=_oracle(network.eval(), preset.transforms()),
        origin={
            "weights": str(options.weights and options.weights.name),
            "image": f"{preset} (transforms)",
            "labels": place,
        },
        image=image,
    )


def _preset(known: Sequence[Any], builder: str, options: WrapOptions) -> Any:
    names = {each.name: each for each in known}
    if options.preset is None and len(names) == 1:
        return known[0]
    if options.preset in names:
        return names[options.preset]
    asked = "With which preset were the weights trained?" if options.preset is None else f"No preset {options.preset}."
    raise ModelError(f"{asked} {builder} has: {', '.join(names)} (--preset).")


def _outputs(builder: str, state: Mapping[str, Any]) -> int:
    """Outputs of the network: the length of those weights that differ from the builder's usual network."""
    import torch
    from torchvision.models import get_model

    try:
        with torch.device("meta"):
            usual = get_model(builder, weights=None).state_dict()
    except NotImplementedError:  # RegNet computes its sizes by tensors
        usual = get_model(builder, weights=None).state_dict()
    found = {len(state[name]) for name, tensor in usual.items() if name in state and state[name].shape != tensor.shape}
    return found.pop() if len(found) == 1 else USUAL_OUTPUTS


def _labels(preset: Any, outputs: int, options: WrapOptions) -> tuple[tuple[str, ...], str]:
    if options.labels:
        if len(options.labels) != max(2, outputs):
            raise ModelError(f"--labels names {len(options.labels)} labels, the network has {outputs} outputs.")
        return options.labels, "--labels"
    known = preset.meta.get("categories") or ()
    if len(known) != outputs:
        raise ModelError(f"The weights have {outputs} outputs: name them in order, --labels A,B,...")
    return _distinct(known), f"{preset} (categories)"


def _distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Names that differ; of equal ones (ImageNet has two cranes) the later ones get their number."""
    return tuple(name if names.index(name) == n else f"{name} ({n})" for n, name in enumerate(names))


def _image_spec(preset: Any) -> ImageSpec:
    """The image input of a preset. Raises ModelError for one that is no image classification."""
    made = preset.transforms()
    if type(made).__name__ != "ImageClassification":
        raise ModelError(f"{preset} is no preset of image classification, but {type(made).__name__}.")
    resize = Resize(
        shorter_edge=made.resize_size[0],
        interpolation=made.interpolation.value.replace("-", "_"),
        library="torchvision_v1",
        antialias=bool(made.antialias),
    )
    side = made.crop_size[0]
    return ImageSpec(side, side, tuple(made.mean), tuple(made.std), (resize, CenterCrop(side, side, rounding="even")))


def _copy(state: Any, bundle: Path) -> None:
    from safetensors.torch import save_file

    save_file({name: tensor.contiguous() for name, tensor in state.items()}, bundle / WEIGHTS_FILE)


def _oracle(network: Any, transforms: Any) -> Oracle:
    import torch
    from torchvision.transforms.functional import pil_to_tensor

    def scores(data: RawInput) -> Sequence[float]:
        with torch.no_grad():
            outputs = network(transforms(pil_to_tensor(open_rgb(data)))[None])[0]
        if len(outputs) == 1:
            one = float(outputs.sigmoid())
            return 1 - one, one
        found: list[float] = outputs.softmax(dim=0).tolist()
        return found

    return Oracle("torchvision preset and network", scores)
