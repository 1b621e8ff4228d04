"""A model bundle: a folder with `model.json` and the frozen weights, everything needed to run the model again.

    {"format": 2, "name": "faces", "modality": "image", "labels": ["plain", "attractive"], "pos_label": 1,
     "loader": {"kind": "torchvision", "builder": "resnet18", "kwargs": {"num_classes": 2}},
     "head": {"kind": "softmax"}, "threshold": 0.6,
     "image": {"height": 112, "width": 112, "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25],
               "steps": [{"op": "resize", "shorter_edge": 128, "interpolation": "bicubic", "library": "torchvision"},
                         {"op": "center_crop", "height": 112, "width": 112}]}}

`fairtrigger wrap` writes it. Format 1, without `format`, `head` and `threshold` and with an image of one `size`, is
read as before.

Weights are safetensors only; a bundle never runs pickled code. A `factory` loader imports code that you name: treat
`model.json` like code. Only modules that the operator lists are imported (triggers/allow_lists.py). Code that
a `transformers` folder brings along (`auto_map`) is never run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator, model_validator
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from triggers.allow_lists import Factories
from triggers.errors import ModelError
from triggers.model.decision import DecisionRule
from triggers.model.endpoint.endpoint_loader import EndpointLoader
from triggers.model.head import Head, LabelsHead, SoftmaxHead
from triggers.model.networks.checkpoint import checkpoint_fault, load_weights
from triggers.model.networks.frozen_linear import Bits, quantize
from triggers.model.networks.module_code import code_digest, import_code
from triggers.preprocessing import ImageSpec, TextSpec
from triggers.storage.regular_file import check_regular, read_regular

SPEC_FILE = "model.json"
WEIGHTS_FILE = "weights.safetensors"


Precision = Literal["float32", "bf16", "int8", "int4"]
"""float32, whatever the weights are stored in; bf16; or bf16 with the weights of its blocks kept in 8 or 4 bits."""
QUANTIZED: Mapping[Precision, Bits] = {"int8": 8, "int4": 4}


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class TransformersLoader(_Strict):
    """A `transformers` folder inside the bundle (relative path), or a hub id together with the revision to pin.

    `dtype` is the number type to compute in; `auto` is that of the checkpoint.
    """

    kind: Literal["transformers"]
    source: str = "."
    revision: str | None = None
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"


class TorchvisionLoader(_Strict):
    """A torchvision model builder by name, without its downloadable weights."""

    kind: Literal["torchvision"]
    builder: str
    kwargs: dict[str, Any] = {}
    weights: str = WEIGHTS_FILE


class FactoryLoader(_Strict):
    """`module:function` that builds the bare network; `code` is the folder of the bundle that holds the module.

    `code_digest` is that of the module's files, wherever they are (module_code.py).
    """

    kind: Literal["factory"]
    target: str = Field(pattern=r"^[\w.]+:\w+$")
    kwargs: dict[str, Any] = {}
    weights: str = WEIGHTS_FILE
    code: str | None = None
    code_digest: str | None = None


class OnnxLoader(_Strict):
    """An ONNX file inside the bundle; `output` is the one of its outputs that counts."""

    kind: Literal["onnx"]
    file: str = "model.onnx"
    output: str | None = None


class ExportedLoader(_Strict):
    """A program of `torch.export` inside the bundle; `output` is the one of its outputs that counts."""

    kind: Literal["exported"]
    file: str = "model.pt2"
    output: str | None = None


Loader = Annotated[
    TransformersLoader | TorchvisionLoader | FactoryLoader | OnnxLoader | ExportedLoader | EndpointLoader,
    Field(discriminator="kind"),
]


class ComparisonRecord(_Strict):
    """What the bundle's own predictions gave beside those of the source's own pipeline, when it was wrapped.

    `spread` is the largest less the smallest score of the selected label: without one, agreement proves little.
    """

    oracle: str
    inputs: int
    largest_difference: float
    flips: int
    spread: float | None = None
    accepted: bool = False

    @property
    def sentence(self) -> str:
        """What was seen, in words."""
        seen = f"largest difference {self.largest_difference:.1g}, {self.flips} flip{'' if self.flips == 1 else 's'}"
        said = f"compared with {self.oracle} on {self.inputs} inputs: {seen}"
        return f"NOT THE SAME AS ITS SOURCE, which was accepted: {said}" if self.accepted else said


@dataclass(frozen=True)
class SquareImage:
    """The section `image` of format 1."""

    __pydantic_config__ = ConfigDict(extra="forbid")
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channels: int = 3
    resize: Literal["squash", "crop"] = "squash"

    def spec(self) -> ImageSpec:
        """The same input, said in full."""
        return ImageSpec.square(self.size, self.mean, self.std, self.channels, self.resize)


def image_section(given: Mapping[str, Any]) -> ImageSpec:
    """The section `image` of either format. Raises pydantic's ValidationError."""
    if "size" in given:
        return TypeAdapter(SquareImage).validate_python(dict(given)).spec()
    return TypeAdapter(ImageSpec).validate_python(dict(given))


class BundleSpec(_Strict):
    """The content of `model.json`. `pos_label` is the index of the label whose rate is the selection rate.

    `groups` are the group names that requests may give, besides those that the model's triggers were made for.
    `head` turns outputs into scores (head.py), `threshold` scores into a label (decision.py). `precision` is what its
    answers are counted and served in. `origin` says what was taken from where.
    """

    format: Literal[1, 2] = 2
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    modality: Literal["image", "text"]
    loader: Loader
    labels: tuple[str, ...] = Field(min_length=2)
    pos_label: int = 1
    image: ImageSpec | None = None
    text: TextSpec | None = None
    description: str = ""
    groups: tuple[str, ...] | None = None
    head: Head = SoftmaxHead()
    threshold: float | None = Field(default=None, gt=0, lt=1)
    precision: Precision = "float32"
    origin: dict[str, str] = {}
    comparison: ComparisonRecord | None = None

    @field_validator("image", mode="before")
    @classmethod
    def _image_of_format_1(cls, image: Any) -> Any:
        """An image that states one `size` in its new words."""
        return image_section(image) if isinstance(image, Mapping) else image

    @model_validator(mode="after")
    def _consistent(self) -> BundleSpec:
        if (self.image is None) == (self.modality == "image") or (self.text is None) == (self.modality == "text"):
            raise ValueError(f"a model of modality {self.modality!r} needs exactly the section {self.modality!r}")
        if not 0 <= self.pos_label < len(self.labels):
            raise ValueError(f"pos_label {self.pos_label} is not an index into {len(self.labels)} labels")
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("labels must differ from each other")
        if not self.head.widths(len(self.labels)):
            raise ValueError(f"a {self.head.kind} head as stated does not fit {len(self.labels)} labels")
        if isinstance(self.head, LabelsHead) and self.threshold is not None:
            raise ValueError("a model that answers labels alone has no scores for a threshold")
        if isinstance(self.loader, EndpointLoader):
            if (self.loader.encoding == "text") != (self.modality == "text"):
                raise ValueError(f"loader.encoding is {self.loader.encoding}, the modality {self.modality}")
            if (self.loader.scores == "labels") != isinstance(self.head, LabelsHead):
                raise ValueError("loader.scores labels and a head labels go together")
            files = self.loader.encoding in ("png", "jpeg")
            if files and self.image and self.image.channel_order != "RGB":
                raise ValueError("picture files are RGB: the endpoint makes BGR of them, if it needs it")
        return self

    @model_validator(mode="after")
    def _precision_fits(self) -> BundleSpec:
        if self.precision == "float32":
            return self
        if not isinstance(self.loader, TransformersLoader):
            raise ValueError(f"precision {self.precision} is for a transformers loader: others compute in float32")
        if self.loader.dtype not in ("auto", "bfloat16"):
            raise ValueError(f"precision {self.precision} needs loader.dtype bfloat16, not {self.loader.dtype}")
        return self

    @property
    def decision(self) -> DecisionRule:
        """The rule from scores to one label."""
        return DecisionRule(self.pos_label, self.threshold)

    def fingerprint_fields(self) -> dict[str, Any]:
        """What a fingerprint of this model covers besides its weights; empty for a plain softmax without threshold.

        The arguments of a factory count from format 2 on: those of format 1 are in no fingerprint that triggers name.
        """
        fields: dict[str, Any] = {}
        if self.head != SoftmaxHead():
            fields["head"] = self.head.model_dump(mode="json")
        if self.threshold is not None:
            fields["threshold"] = self.threshold
        if self.precision != "float32":
            fields["precision"] = self.precision
        if self.format > 1 and isinstance(self.loader, FactoryLoader):
            named = {"target": self.loader.target, "kwargs": self.loader.kwargs}
            if self.loader.code_digest:
                fields["factory"] = named | {"code": self.loader.code_digest}
            elif self.loader.kwargs:
                fields["factory"] = named
        return fields


def read_spec(folder: Path) -> BundleSpec:
    """Read and check `model.json`. Raises ModelError."""
    path = folder / SPEC_FILE
    try:
        spec = BundleSpec.model_validate_json(read_regular(path))
    except FileNotFoundError as error:
        raise ModelError(f"{folder} is no model bundle: {SPEC_FILE} is missing.") from error
    except (ValidationError, OSError) as error:
        raise ModelError(f"{path} cannot be used: {error}") from error
    return spec if "format" in spec.model_fields_set else spec.model_copy(update={"format": 1})


def save_bundle(folder: Path, spec: BundleSpec, state: Mapping[str, Tensor] | None = None) -> None:
    """Write `model.json`, last, and the weights if given (a `transformers` model saves its own files first)."""
    folder.mkdir(parents=True, exist_ok=True)
    if state is not None:
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
        save_file(tensors, folder / WEIGHTS_FILE)
    text = json.dumps(spec.model_dump(mode="json", exclude_none=True), indent=2)
    (folder / SPEC_FILE).write_text(text + "\n")


def build_network(folder: Path, spec: BundleSpec, factories: Factories) -> tuple[nn.Module, str]:
    """Build the bare network and load its weights; also why these are not the whole network, empty if they are.

    Raises ModelError with what to mend.
    """
    if isinstance(spec.loader, TransformersLoader):
        return _transformers_network(folder, spec)
    if isinstance(spec.loader, OnnxLoader):
        from triggers.model.networks.onnx_network import load_onnx

        return load_onnx(folder / spec.loader.file, spec.loader.output), ""
    if isinstance(spec.loader, ExportedLoader):
        from triggers.model.networks.exported_program import load_exported

        return load_exported(folder / spec.loader.file, spec.loader.output), ""
    if isinstance(spec.loader, EndpointLoader):
        raise ModelError(f"{spec.name!r} has no network: its model is only an address.")
    network = bare_network(spec.loader, factories, folder)
    path = folder / spec.loader.weights
    try:
        check_regular(path)
        load_weights(network, load_file(path))
    except (OSError, SafetensorError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"The weights {path} do not fit {spec.loader.kind} model {spec.name!r}: {reason}") from error
    return network, ""


def bare_network(
    loader: TorchvisionLoader | FactoryLoader, factories: Factories, folder: Path | None = None
) -> nn.Module:
    """Build the network with fresh weights; `folder` is the bundle, which may hold the factory's code.

    Raises ModelError, also for a factory that is not among `factories`.
    """
    return _torchvision(loader) if isinstance(loader, TorchvisionLoader) else _factory(loader, factories, folder)


def pretrained(auto: Any, source: str, **options: Any) -> Any:
    """Load by a class of `transformers` from a folder or hub id, without running code that comes with it.

    Raises ModelError in one line.
    """
    try:
        if (folder := Path(source)).is_dir():
            for path in folder.iterdir():
                if not path.is_dir():
                    check_regular(path)
        return auto.from_pretrained(source, trust_remote_code=False, **options)  # nosec B615
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        reason = " ".join(str(error).split())
        if "trust_remote_code" in reason:
            reason = "it brings code of its own (auto_map), which is never run: save it as a class of transformers"
        raise ModelError(f"transformers cannot load {source!r}: {reason}") from error


def transformers_source(folder: Path, loader: TransformersLoader) -> str:
    """The folder inside the bundle if it exists, else the hub id."""
    local = folder / loader.source
    return str(local) if local.is_dir() else loader.source


def _transformers_network(folder: Path, spec: BundleSpec) -> tuple[nn.Module, str]:
    import transformers

    assert isinstance(spec.loader, TransformersLoader)
    transformers.utils.logging.disable_progress_bar()  # a bar per load would tear logs and our own bars apart
    source = transformers_source(folder, spec.loader)
    auto = (
        transformers.AutoModelForSequenceClassification
        if spec.modality == "text"
        else transformers.AutoModelForImageClassification
    )
    dtype = spec.loader.dtype if spec.precision == "float32" else "bfloat16"
    options = {"revision": spec.loader.revision or "main", "use_safetensors": True, "dtype": dtype}
    network, info = pretrained(auto, source, output_loading_info=True, ignore_mismatched_sizes=True, **options)
    assert isinstance(network, nn.Module)
    fault = checkpoint_fault(network, info)
    return (quantize(network, QUANTIZED[spec.precision]) if spec.precision in QUANTIZED else network), fault


def _torchvision(loader: TorchvisionLoader) -> nn.Module:
    from torchvision.models import get_model, list_models

    if loader.builder not in list_models():
        raise ModelError(f"torchvision has no model {loader.builder!r}; see torchvision.models.list_models().")
    try:
        network = get_model(loader.builder, weights=None, **loader.kwargs)
    except (TypeError, ValueError) as error:
        raise ModelError(f"torchvision's {loader.builder} does not take {loader.kwargs}: {error}") from error
    assert isinstance(network, nn.Module)
    return network


def _factory(loader: FactoryLoader, factories: Factories, folder: Path | None) -> nn.Module:
    name, _, function = loader.target.partition(":")
    factories.check(loader.target)
    code = folder / loader.code if folder and loader.code else None
    if loader.code_digest is not None and (found := code_digest(name, code)) != loader.code_digest:
        raise ModelError(f"The code of {loader.target!r} changed since it was wrapped ({found}): wrap it again.")
    try:
        network = getattr(import_code(name, code), function)(**loader.kwargs)
    except Exception as error:  # whatever the factory's code raises is the reason
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise ModelError(f"The factory {loader.target!r} cannot be called: {reason}") from error
    if not isinstance(network, nn.Module):
        raise ModelError(f"The factory {loader.target!r} returned a {type(network).__name__}, not a torch module.")
    return network
