"""A source that is only an address: a model that somebody else runs, asked over the network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import torch
from pydantic import ValidationError

from triggers.allow_lists import AllowedHosts
from triggers.errors import ModelError
from triggers.model.endpoint.canary import CANARY_ROWS, Canary
from triggers.model.endpoint.endpoint_loader import EndpointLoader
from triggers.model.endpoint.endpoint_network import EndpointNetwork
from triggers.model.endpoint.request_rows import canary_inputs, rows_of
from triggers.model.head import head_fault, head_logits
from triggers.preprocessing import ImageSpec, TextSpec
from triggers.preprocessing.preprocess import decode_image
from triggers.preprocessing.text_content import readable_text
from triggers.sources.builtin_inputs import builtin_images, builtin_texts
from triggers.sources.oracles import Oracle, RawInput
from triggers.sources.source import ModelSource, WrapOptions
from triggers.sources.stated import first_fault, stated_head, stated_image

PREFIXES = ("http://", "https://")
MAX_TEXT_BYTES = 20_000
LONGEST_WORDS = 200
"""Words of the longest text of a canary: what an endpoint does beyond its own limit is its affair."""


def read_endpoint(url: str, options: WrapOptions) -> ModelSource:
    """The source behind an address. Raises ModelError, EndpointUnavailable or ConfigError."""
    loader = _loader(url, dict(options.endpoint))
    image = None if loader.encoding == "text" else stated_image(options, None, None, None)
    network = EndpointNetwork(loader, hosts=AllowedHosts.of_url(url))
    inputs = canary_inputs([_item(given, image) for given in _builtin(image)])
    canary = Canary(inputs, network(rows_of(inputs, image, loader)))
    labels, head, place = stated_head(options, canary.outputs.shape[1], None)
    if fault := head_fault(head, canary.outputs):
        raise ModelError(f"{fault} Say with --head what the outputs of {url} mean.")

    def one_by_one(given: RawInput) -> Sequence[float]:
        rows = rows_of(canary_inputs([_item(given, image)]), image, loader)
        found: list[float] = head_logits(head, network(rows), len(labels))[0].softmax(dim=0).tolist()
        return found

    return ModelSource(
        name=urlsplit(url).hostname or "endpoint",
        modality="text" if image is None else "image",
        loader=loader,
        labels=labels,
        head=head,
        copy=canary.save,
        oracle=Oracle(f"{loader.protocol} at {urlsplit(url).netloc}, one input at a time", one_by_one),
        origin={"network": f"asked at {url}", "labels": "--labels", "head": place},
        image=image,
        text=TextSpec(MAX_TEXT_BYTES) if image is None else None,
    )


def _loader(url: str, stated: dict[str, Any]) -> EndpointLoader:
    try:
        return EndpointLoader.model_validate({"kind": "endpoint", "url": url, **stated})
    except ValidationError as error:
        raise ModelError(f"{url} cannot be asked as stated: {first_fault(error)}.") from error


def _builtin(image: ImageSpec | None) -> Sequence[RawInput]:
    return builtin_images(CANARY_ROWS) if image else builtin_texts(CANARY_ROWS, longest=LONGEST_WORDS)


def _item(given: RawInput, image: ImageSpec | None) -> torch.Tensor | str:
    """One input as it is before it travels."""
    if image is None:
        assert isinstance(given, str)
        return readable_text(given)
    assert isinstance(given, bytes)
    return decode_image(given, image)
