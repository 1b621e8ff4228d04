"""A source that is only an address: a model that somebody else runs, asked over the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError
from torch import Tensor

from triggers.errors import ModelError
from triggers.model.endpoint.canary import Canary
from triggers.model.endpoint.endpoint_loader import EndpointLoader
from triggers.model.endpoint.endpoint_network import EndpointNetwork
from triggers.model.endpoint.protocols import UnnamedColumns
from triggers.model.endpoint.request_rows import canary_inputs, rows_of
from triggers.model.head import Head, LabelsHead, head_fault, head_logits
from triggers.preprocessing import ImageSpec, TextSpec
from triggers.sources.canary_choice import (
    NOISE_MARGIN,
    AnswerNoise,
    canary_candidates,
    canary_item,
    measured_noise,
    spread_rows,
)
from triggers.sources.endpoint_metadata import USUAL_TYPES, SeenTensors, ask_metadata, seen_tensors
from triggers.sources.endpoint_presets import EndpointPreset, chosen_preset
from triggers.sources.oracles import Oracle, RawInput
from triggers.sources.source import ModelSource, WrapOptions
from triggers.sources.stated import first_fault, stated_head, stated_image

PREFIXES = ("http://", "https://", "grpc://", "grpcs://")
MAX_TEXT_BYTES = 20_000
LEAST_TOLERANCE = 1e-3
"""Of an output of the canary, where the endpoint answers with less noise."""
LEAST_CANARY_SPREAD = 0.01
"""Between the smallest and the largest score; with less, a canary proves little."""
BINARY_TOLERANCE = 1e-3
"""Largest difference of an output between tensors in JSON and in binary form."""


@dataclass(frozen=True)
class DescribedEndpoint:
    """How an address is asked, where that was taken from, and how its pictures are prepared."""

    loader: EndpointLoader
    origin: Mapping[str, str]
    image: ImageSpec | None


def read_endpoint(url: str, options: WrapOptions) -> ModelSource:
    """The source behind an address. Raises ModelError, EndpointUnavailable or ConfigError."""
    name, preset = chosen_preset(url, options)
    described = _described(url, name, preset, options)
    candidates = canary_inputs(canary_candidates(described.image))
    loader, outputs = _first_answers(described, candidates, options)
    loader, outputs = _binary_if_taken(loader, described, candidates, outputs, options)
    labels, head, place = _labels_and_head(
        loader, outputs, preset, replace(options, labels=options.labels or loader.columns)
    )

    def scores(found: Tensor) -> Tensor:
        return head_logits(head, found, len(labels)).softmax(dim=1)

    canary, noise = _canary(loader, described.image, candidates, outputs, scores)
    loader = _tolerant(loader, noise, options)
    network = EndpointNetwork(loader)

    def one_by_one(given: RawInput) -> Sequence[float]:
        rows = rows_of(canary_inputs([canary_item(given, described.image)]), described.image, loader)
        found: list[float] = scores(network(rows))[0].tolist()
        return found

    spread = float((scores(canary.outputs).amax(dim=0) - scores(canary.outputs).amin(dim=0)).max())
    origin = dict(described.origin) | {"labels": _labels_place(loader, options), "head": place}
    if loader.encoding == "jpeg":
        origin["encoding"] += _jpeg_bound(loader, described.image, candidates, outputs, scores)
    origin["canary"] = (
        f"{len(canary.outputs)} of {len(outputs)} built-in inputs; scores spread by {spread:.2g}; asked again, alone "
        f"and in company, outputs differ by {noise.outputs:.1e} at most: tolerance {loader.canary_tolerance:.1e}"
    )
    return ModelSource(
        name=_name(url),
        modality="text" if described.image is None else "image",
        loader=loader,
        labels=labels,
        head=head,
        copy=canary.save,
        oracle=Oracle(f"{name} at {urlsplit(url).netloc}, one input at a time", one_by_one),
        origin=origin,
        image=described.image,
        text=TextSpec(options.max_tokens or MAX_TEXT_BYTES) if described.image is None else None,
        noise=noise.scores,
        cautions=_cautions(spread),
    )


def _described(url: str, name: str, preset: EndpointPreset, options: WrapOptions) -> DescribedEndpoint:
    stated = dict(options.endpoint) | {"protocol": preset.fields["protocol"]}
    v2 = name in ("v2", "v2-grpc")
    if v2 and options.output is not None:
        stated.setdefault("output", options.output)
    origin = {
        "network": f"asked at {url}",
        "protocol": f"{name}, as {'the address says' if options.protocol is None else '--protocol says'}",
    }
    seen = SeenTensors({}, {})
    if v2:
        url = url if name == "v2-grpc" else url.rstrip("/").removesuffix("/infer") + "/infer"
        probe: dict[str, Any] = {key: stated[key] for key in ("protocol", "credentials", "timeout") if key in stated}
        metadata = ask_metadata(_loader(url, {**probe, "encoding": "text", "input": ""}))
        if metadata is None or not (metadata.inputs or metadata.outputs):
            origin["input"] = "--endpoint: the endpoint's metadata names no tensors"
        else:
            seen = seen_tensors(metadata, stated, options)
            origin |= seen.origin
        if "input" not in {**stated, **seen.fields}:
            raise ModelError(
                f'The metadata of {url} names no input: give its name, --endpoint \'{{"input": "NAME"}}\'.'
            )
    fields = {**preset.fields, **seen.fields, **stated}
    if "encoding" not in fields:
        fields["encoding"] = "text" if options.image is None else _usual_encoding(fields, url)
    loader = _loader(url, fields)
    image = None
    if loader.encoding == "text":
        most = options.max_tokens or MAX_TEXT_BYTES
        origin["text"] = f"as it is, in UTF-8; longer ones are cut at {most:,} bytes (--max-tokens)"
    else:
        image = _image(loader, options, seen)
        origin["encoding"] = _encoding_place(loader)
        origin["image"] = "--image" + ("" if loader.encoding == "float" else "; mean and std are the endpoint's affair")
    return DescribedEndpoint(loader, origin, image)


def _loader(url: str, stated: Mapping[str, Any]) -> EndpointLoader:
    try:
        return EndpointLoader.model_validate({"kind": "endpoint", "url": url, **stated})
    except ValidationError as error:
        raise ModelError(f"{url} cannot be asked as stated: {first_fault(error)} (--endpoint).") from error


def _usual_encoding(fields: Mapping[str, Any], url: str) -> str:
    if fields.get("input") == "$body":
        return "png"
    raise ModelError(
        f"How do pictures travel to {url}? Say --endpoint '{{\"encoding\": ...}}': pixels (0 to 255), float (after "
        "mean and std), png, or jpeg with a quality."
    )


def _image(loader: EndpointLoader, options: WrapOptions, seen: SeenTensors) -> ImageSpec:
    """The picture that the endpoint takes; mean and std need not be stated where the endpoint has its own."""
    given = None if options.image is None else dict(options.image)
    if given is not None and loader.encoding != "float":
        channels = int(given.get("channels", 3))
        given = {"mean": [0.0] * channels, "std": [1.0] * channels} | given
    return stated_image(replace(options, image=given), *seen.sides)


def _encoding_place(loader: EndpointLoader) -> str:
    if loader.encoding in ("pixels", "float"):
        return f"{loader.encoding}, {loader.datatype or USUAL_TYPES[loader.encoding]}, {loader.layout}"
    return loader.encoding + (f" of quality {loader.quality}" if loader.quality else ", which loses nothing")


def _asked(loader: EndpointLoader, image: ImageSpec | None, inputs: Mapping[str, Tensor]) -> Tensor:
    network = EndpointNetwork(loader)
    try:
        found: Tensor = network(rows_of(inputs, image, loader))
    finally:
        network.close()
    return found


def _first_answers(
    described: DescribedEndpoint, inputs: Mapping[str, Tensor], options: WrapOptions
) -> tuple[EndpointLoader, Tensor]:
    """The loader, with the names of its columns if answers name them, and the outputs of the inputs."""
    loader = described.loader
    if loader.scores == "labels" and loader.columns is None and options.labels:
        loader = loader.model_copy(update={"columns": options.labels})
    try:
        return loader, _asked(loader, described.image, inputs)
    except UnnamedColumns as error:
        names = error.names
    if options.labels is not None and set(options.labels) != set(names):
        raise ModelError(
            f"The endpoint names its scores {', '.join(names)}, --labels {', '.join(options.labels)}: leave out "
            "--labels, or give the order of the outputs, --endpoint '{\"columns\": [...]}'."
        )
    loader = loader.model_copy(update={"columns": options.labels or names})
    return loader, _asked(loader, described.image, inputs)


def _binary_if_taken(
    loader: EndpointLoader,
    described: DescribedEndpoint,
    inputs: Mapping[str, Tensor],
    outputs: Tensor,
    options: WrapOptions,
) -> tuple[EndpointLoader, Tensor]:
    """The same in binary form, if the endpoint takes that and answers the same."""
    if loader.protocol != "v2" or "binary" in options.endpoint:
        return loader, outputs
    binary = loader.model_copy(update={"binary": True})
    try:
        found = _asked(binary, described.image, inputs)
    except ModelError:
        return loader, outputs
    same = found.shape == outputs.shape and float((found - outputs).abs().max()) <= BINARY_TOLERANCE
    return (binary, found) if same else (loader, outputs)


def _labels_and_head(
    loader: EndpointLoader, outputs: Tensor, preset: EndpointPreset, options: WrapOptions
) -> tuple[tuple[str, ...], Head, str]:
    if loader.scores == "labels":
        assert loader.columns
        return options.labels or loader.columns, LabelsHead(), "labels alone: scores are 1 and 0"
    activation = preset.activation or _seen_activation(loader, outputs, options)
    labels, head, place = stated_head(options, outputs.shape[1], activation)
    if fault := head_fault(head, outputs):
        raise ModelError(f"{fault} Say with --head what the outputs of {loader.url} mean.")
    if place != "--head":
        seen = {"softmax": "rows add up to 1", "sigmoid": "probabilities of their own"}.get(str(activation), "logits")
        place = (
            f"as seen in {len(outputs)} answers: {seen}, from {float(outputs.min()):.3g} to {float(outputs.max()):.3g}"
        )
    return labels, head, place


def _seen_activation(loader: EndpointLoader, outputs: Tensor, options: WrapOptions) -> str | None:
    """What made the outputs, as far as they show it. Raises ModelError where they may be two things."""
    low, high = float(outputs.min()), float(outputs.max())
    if options.head is not None or low < 0 or high > 1:
        return None
    if outputs.shape[1] > 1 and float((outputs.sum(dim=1) - 1).abs().max()) <= 1e-3:
        return "softmax"
    if loader.columns:
        return "sigmoid"
    kinds = '{"kind": "probabilities"}\' or \'{"kind": "sigmoid"}'
    if outputs.shape[1] > 1:
        kinds = '{"kind": "multi_label", "outputs": N, "index": I, "gives": "probabilities"}\' or \'{"kind": "softmax"}'
    raise ModelError(
        f"The outputs of {loader.url} lie between {low:.3g} and {high:.3g}: probabilities, or numbers before a softmax "
        f"or sigmoid? Say --head '{kinds}'."
    )


def _labels_place(loader: EndpointLoader, options: WrapOptions) -> str:
    return "--labels" if options.labels else "as the endpoint names its scores"


def _canary(
    loader: EndpointLoader,
    image: ImageSpec | None,
    candidates: Mapping[str, Tensor],
    outputs: Tensor,
    scores: Callable[[Tensor], Tensor],
) -> tuple[Canary, AnswerNoise]:
    """Those inputs that the model tells apart, and the noise of its answers to them."""
    chosen = spread_rows(outputs)
    inputs = {name: each[chosen] for name, each in candidates.items()}
    together = _asked(loader, image, inputs)
    alone = _asked(loader.model_copy(update={"max_batch": 1}), image, inputs)
    noise = measured_noise([together, alone, outputs[chosen]], scores, f"The endpoint {loader.url}")
    return Canary(inputs, together), noise


def _tolerant(loader: EndpointLoader, noise: AnswerNoise, options: WrapOptions) -> EndpointLoader:
    """The loader with a tolerance that the endpoint's own noise does not reach. Raises ModelError."""
    if "canary_tolerance" not in options.endpoint:
        return loader.model_copy(update={"canary_tolerance": max(LEAST_TOLERANCE, NOISE_MARGIN * noise.outputs)})
    if loader.canary_tolerance <= noise.outputs:
        raise ModelError(
            f"canary_tolerance is {loader.canary_tolerance:.1e}, but outputs of {loader.url} differ by "
            f"{noise.outputs:.1e} from one time to the next: at least {NOISE_MARGIN * noise.outputs:.1e} is needed."
        )
    return loader


def _jpeg_bound(
    loader: EndpointLoader,
    image: ImageSpec | None,
    inputs: Mapping[str, Tensor],
    outputs: Tensor,
    scores: Callable[[Tensor], Tensor],
) -> str:
    try:
        lossless = _asked(loader.model_copy(update={"encoding": "png", "quality": None}), image, inputs)
    except ModelError:
        return "; how much it loses is not known: the endpoint takes no png"
    away = float((scores(lossless) - scores(outputs)).abs().max())
    return f": scores differ by up to {away:.2g} from those of png on {len(outputs)} built-in pictures"


def _cautions(spread: float) -> tuple[str, ...]:
    if spread >= LEAST_CANARY_SPREAD:
        return ()
    return (
        f"the model's scores of all its built-in inputs differ by only {spread:.1g}: its canary, which they are, would "
        "hardly notice another model in its place",
    )


def _name(url: str) -> str:
    """The model in the path, else the host."""
    parts = urlsplit(url)
    path = [part for part in parts.path.split("/") if part not in ("", "infer", "predict", "v2", "models", "versions")]
    return path[0] if path and ("/v2/models/" in parts.path or parts.scheme.startswith("grpc")) else str(parts.hostname)
