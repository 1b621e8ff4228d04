"""Endpoints of known kinds: what each takes and answers, as fields of a bundle's section `loader`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from triggers.errors import ModelError
from triggers.model.endpoint.endpoint_loader import ALL_ROWS, EACH_ROW, ONE_ROW, WHOLE_BODY
from triggers.sources.source import WrapOptions


@dataclass(frozen=True)
class EndpointPreset:
    """Fields of the loader that are stated nowhere else, and whether scores are probabilities, where that is known."""

    fields: Mapping[str, Any]
    activation: str | None = None


PRESETS: Mapping[str, EndpointPreset] = {
    "v2": EndpointPreset({"protocol": "v2"}),
    "v2-grpc": EndpointPreset({"protocol": "v2-grpc"}),
    "json": EndpointPreset({"protocol": "json"}),
    "v1": EndpointPreset({"protocol": "json", "input": {"instances": ALL_ROWS}, "output": "$.predictions"}),
    "torchserve": EndpointPreset({"protocol": "json", "input": WHOLE_BODY, "output": "$"}),
    "tei": EndpointPreset(
        {
            "protocol": "json",
            "input": {"inputs": {EACH_ROW: [ONE_ROW]}, "truncate": True},
            "output": "$",
            "encoding": "text",
        }
    ),
    "huggingface": EndpointPreset(
        {
            "protocol": "json",
            "input": {"inputs": ALL_ROWS, "parameters": {"top_k": 1000}},
            "output": "$",
            "encoding": "text",
        }
    ),
    "openai-moderation": EndpointPreset(
        {
            "protocol": "json",
            "input": {"model": "omni-moderation-latest", "input": ALL_ROWS},
            "output": "$.results[*].category_scores",
            "encoding": "text",
        },
        activation="sigmoid",
    ),
}


def chosen_preset(url: str, options: WrapOptions) -> tuple[str, EndpointPreset]:
    """The preset that is stated, or that the address itself says. Raises ModelError."""
    stated = options.protocol or options.endpoint.get("protocol") or _usual_protocol(url)
    if stated is None:
        raise ModelError(f"How is {url} asked? Give --protocol: {', '.join(PRESETS)} (docs/endpoints.md).")
    if stated not in PRESETS:
        raise ModelError(f"--protocol {stated!r} is none of: {', '.join(PRESETS)} (docs/endpoints.md).")
    return str(stated), PRESETS[stated]


def _usual_protocol(url: str) -> str | None:
    parts = urlsplit(url)
    if parts.scheme.startswith("grpc"):
        return "v2-grpc"
    return "v2" if "/v2/models/" in parts.path else None
