"""Rows on their way to an endpoint: pictures as whole grey values or numbers, texts as they are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias, cast

import torch
from torch import Tensor

from triggers.model.endpoint.endpoint_loader import EndpointLoader
from triggers.model.endpoint.word_bank import texts_of
from triggers.preprocessing import ImageSpec, TextBatch

Rows: TypeAlias = Tensor | Sequence[str]
"""Pictures (N, C, H, W), uint8 or, where they travel as `float`, float32 after mean and std; or texts."""


def travelling_pixels(images: Tensor, image: ImageSpec, loader: EndpointLoader) -> Tensor:
    """Float images (N, C, H, W) in [0, 1] as they travel."""
    if loader.encoding == "float":
        mean, std = (torch.tensor(part).view(-1, 1, 1) for part in (image.mean, image.std))
        found = (images - mean) / std
    else:
        found = (images * 255.0).round().clamp(0, 255).to(torch.uint8)
    return found.flip(1) if image.channel_order == "BGR" else found


def canary_inputs(items: Sequence[Tensor | str]) -> dict[str, Tensor]:
    """Inputs as tensors that a file can hold: pictures uint8 (N, C, H, W), or the bytes of texts (N, L) and lengths."""
    if isinstance(items[0], Tensor):
        return {"images": torch.stack(cast(list[Tensor], list(items)))}
    batch = TextBatch.of([tuple(text.encode()) for text in cast(Sequence[str], items)], 0)
    return {"texts": batch.ids.to(torch.uint8), "lengths": batch.lengths}


def rows_of(inputs: Mapping[str, Tensor], image: ImageSpec | None, loader: EndpointLoader) -> Rows:
    """Such inputs as they travel."""
    if image:
        return travelling_pixels(inputs["images"].float() / 255.0, image, loader)
    return texts_of(TextBatch(inputs["texts"].long(), inputs["lengths"]))
