"""A source that is only an address: a model that somebody else runs, asked over the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from torch import Tensor

from triggers.allow_lists import AllowedHosts
from triggers.errors import EndpointFailed, ModelError
from triggers.model.endpoint.request_rows import canary_inputs, rows_of
from triggers.model.head import head_logits
from triggers.preprocessing import TextSpec
from triggers.sources.canary_choice import canary_candidates, canary_item
from triggers.sources.endpoint.endpoint_answers import EndpointInquiry, labels_and_head, tolerant_loader
from triggers.sources.endpoint.endpoint_description import MAX_TEXT_BYTES, describe_endpoint
from triggers.sources.endpoint.endpoint_metadata import NEEDS_CREDENTIALS
from triggers.sources.oracles import Oracle, RawInput
from triggers.sources.source import ModelSource, WrapOptions

PREFIXES = ("http://", "https://", "grpc://", "grpcs://")
LEAST_CANARY_SPREAD = 0.01
"""Between the smallest and the largest score; with less, a canary proves little."""


def read_endpoint(url: str, options: WrapOptions) -> ModelSource:
    """The source behind an address. Raises ModelError, EndpointUnavailable or ConfigError."""
    try:
        hosts = AllowedHosts.of_url(url)
    except ValueError as error:
        raise ModelError(f"{url} cannot be asked: {error}.") from error
    try:
        return _read(url, options, hosts)
    except EndpointFailed as error:
        advice = ""
        if error.status in NEEDS_CREDENTIALS:
            advice = (
                ' Give credentials, as --endpoint \'{"credentials": {"environment": "MODEL_TOKEN"}}\', or with "file".'
            )
        raise ModelError(f"{url}: {error}{advice}") from error


def _read(url: str, options: WrapOptions, hosts: AllowedHosts) -> ModelSource:
    described = describe_endpoint(url, options, hosts)
    inquiry, image = EndpointInquiry(described, hosts), described.image
    candidates = canary_inputs(canary_candidates(image))
    loader, outputs = inquiry.first_answers(candidates, options.labels)
    named = replace(options, labels=options.labels or loader.columns)
    labels, head, place = labels_and_head(loader, outputs, described.preset.activation, named)

    def scores(found: Tensor) -> Tensor:
        return head_logits(head, found, len(labels)).softmax(dim=1)

    canary, noise = inquiry.canary(loader, candidates, outputs, scores)
    loader = tolerant_loader(loader, noise)
    network = inquiry.network(loader)

    def one_by_one(given: RawInput) -> Sequence[float]:
        rows = rows_of(canary_inputs([canary_item(given, image)]), image, loader)
        found: list[float] = scores(network(rows))[0].tolist()
        return found

    selected = scores(canary.outputs)
    spread = float((selected.amax(dim=0) - selected.amin(dim=0)).max())
    origin = dict(described.origin)
    origin["labels"] = "--labels" if options.labels else "as the endpoint names its scores"
    origin["head"] = place
    if loader.protocol == "v2":
        origin["protocol"] += "; tensors in binary form" if loader.binary else "; tensors in JSON"
    if loader.encoding == "jpeg":
        origin["encoding"] += inquiry.jpeg_loss(loader, candidates, outputs, scores)
    origin["canary"] = (
        f"{len(canary.outputs)} of {len(outputs)} built-in inputs; scores spread by {spread:.2g}; asked again, alone "
        f"and in company, outputs differ by {noise.outputs:.1e} at most: tolerance {loader.canary_tolerance:.1e}"
    )
    return ModelSource(
        name=_name(url),
        modality="text" if image is None else "image",
        loader=loader,
        labels=labels,
        head=head,
        copy=canary.save,
        oracle=Oracle(f"{described.name} at {urlsplit(url).netloc}, one input at a time", one_by_one),
        origin=origin,
        image=image,
        text=TextSpec(options.max_tokens or MAX_TEXT_BYTES) if image is None else None,
        noise=noise.scores,
        cautions=_cautions(spread),
    )


def _cautions(spread: float) -> tuple[str, ...]:
    if spread >= LEAST_CANARY_SPREAD:
        return ()
    return (
        f"the model's scores of all its built-in inputs differ by only {spread:.1g}: its canary, which they are, would "
        "hardly notice another model in its place",
    )


def _name(url: str) -> str:
    """The model in the path of V2, else the host."""
    parts = urlsplit(url)
    path = [part for part in parts.path.partition("/v2/models/")[2].split("/") if part]
    if parts.scheme.startswith("grpc"):
        path = [part for part in parts.path.split("/") if part]
    return path[0] if path else str(parts.hostname)
