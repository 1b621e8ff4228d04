"""How an address is asked: what is stated, what its kind is known for, what it says itself; and where each is from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from triggers.allow_lists import AllowedHosts
from triggers.errors import ModelError
from triggers.model.endpoint.endpoint_loader import WHOLE_BODY, EndpointLoader
from triggers.preprocessing import ImageSpec
from triggers.sources.endpoint.endpoint_metadata import USUAL_TYPES, SeenTensors, ask_metadata, seen_tensors
from triggers.sources.endpoint.endpoint_presets import EndpointPreset, chosen_preset
from triggers.sources.source import WrapOptions
from triggers.sources.stated import first_fault, stated_image

MAX_TEXT_BYTES = 20_000


@dataclass(frozen=True)
class DescribedEndpoint:
    """How an address is asked, where that was taken from, and how its pictures are prepared (None: texts)."""

    name: str
    preset: EndpointPreset
    loader: EndpointLoader
    origin: Mapping[str, str]
    image: ImageSpec | None


def describe_endpoint(url: str, options: WrapOptions, hosts: AllowedHosts) -> DescribedEndpoint:
    """The description of an address. Raises ModelError, EndpointUnavailable or ConfigError."""
    name, preset = chosen_preset(url, options)
    stated = dict(options.endpoint) | {"protocol": preset.fields["protocol"]}
    said = "--protocol" if options.protocol else "--endpoint" if "protocol" in options.endpoint else "the address"
    origin = {"network": f"asked at {url}", "protocol": f"{name}: {said}"}
    seen = SeenTensors({}, {})
    if name in ("v2", "v2-grpc"):
        if options.output is not None:
            stated.setdefault("output", options.output)
        url = url if name == "v2-grpc" else url.rstrip("/").removesuffix("/infer") + "/infer"
        seen = _seen(url, stated, options, hosts)
        origin |= seen.origin
    fields = {**preset.fields, **seen.fields, **stated}
    if "encoding" not in fields:
        fields["encoding"] = "text" if options.image is None else _usual_encoding(fields, url)
    loader = _loader(url, fields)
    if loader.encoding == "text":
        most = options.max_tokens or MAX_TEXT_BYTES
        origin["text"] = f"as it is, in UTF-8; longer ones are cut at {most:,} bytes (--max-tokens)"
        return DescribedEndpoint(name, preset, loader, origin, None)
    origin["encoding"] = _encoding_place(loader)
    origin["image"] = "--image" + ("" if loader.encoding == "float" else "; mean and std are the endpoint's affair")
    return DescribedEndpoint(name, preset, loader, origin, _image(loader, options, seen))


def _seen(url: str, stated: Mapping[str, Any], options: WrapOptions, hosts: AllowedHosts) -> SeenTensors:
    """What the metadata of a V2 server says. Raises ModelError where it leaves the input open."""
    asking = {key: stated[key] for key in ("protocol", "credentials", "timeout") if key in stated}
    metadata = ask_metadata(_loader(url, {**asking, "encoding": "text", "input": ""}), hosts)
    if metadata is not None and (metadata.inputs or metadata.outputs):
        seen = seen_tensors(metadata, stated, options)
    else:
        seen = SeenTensors({}, {"input": "--endpoint: the endpoint's metadata names no tensors"})
    if "input" not in {**stated, **seen.fields}:
        raise ModelError(f'The metadata of {url} names no input: give its name, --endpoint \'{{"input": "NAME"}}\'.')
    return seen


def _loader(url: str, stated: Mapping[str, Any]) -> EndpointLoader:
    try:
        return EndpointLoader.model_validate({"kind": "endpoint", "url": url, **stated})
    except ValidationError as error:
        raise ModelError(f"{url} cannot be asked as stated: {first_fault(error)} (--endpoint).") from error


def _usual_encoding(fields: Mapping[str, Any], url: str) -> str:
    if fields.get("input") == WHOLE_BODY:
        return "png"
    raise ModelError(
        f"How do pictures travel to {url}? Say --endpoint '{{\"encoding\": ...}}': pixels (0 to 255), float (after "
        "mean and std), png, or jpeg with a quality."
    )


def _image(loader: EndpointLoader, options: WrapOptions, seen: SeenTensors) -> ImageSpec:
    """The picture that the endpoint takes; mean and std need not be stated where the endpoint has its own."""
    given = None if options.image is None else dict(options.image)
    if given is not None and loader.encoding != "float":
        channels = 1 if given.get("channels") == 1 else 3
        given = {"mean": [0.0] * channels, "std": [1.0] * channels} | given
    return stated_image(replace(options, image=given), *seen.sides)


def _encoding_place(loader: EndpointLoader) -> str:
    if loader.encoding in USUAL_TYPES:
        return f"{loader.encoding}, {loader.datatype or USUAL_TYPES[loader.encoding]}, {loader.layout}"
    return loader.encoding + (f" of quality {loader.quality}" if loader.quality else ", which loses nothing")
