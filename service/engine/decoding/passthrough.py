"""Pass-through of encoded files, which the GPU decodes just before their batch is computed.

A plain JPEG is passed on, to another process if it fits into a slot; anything else is decoded here, on the CPU.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from service.config import Settings
from service.engine.decoding.cpu import CpuDecoder
from service.engine.decoding.gpu import decodes_on_gpu, is_plain
from service.engine.types import EncodedFile, ModelDescription, PredictInput
from triggers.errors import InputError
from triggers.model import Item
from triggers.preprocessing import ImageLimits, ImageSpec

DecodedOrEncoded: TypeAlias = Item | EncodedFile | InputError
"""One input, decoded or still encoded, or its error."""


@dataclass(frozen=True)
class EncodedPassthrough:
    """A decoder that passes plain JPEGs on; `others` decodes the rest, such as files over `longest` bytes."""

    others: CpuDecoder
    spec: ImageSpec
    limits: ImageLimits
    longest: int

    async def decode(self, inputs: Sequence[PredictInput]) -> Sequence[DecodedOrEncoded]:
        """A file, an image or an error for every input, in order. On the event loop."""
        found = [self._file(one_input) for one_input in inputs]
        rest = [one_input for one_input, file in zip(inputs, found, strict=True) if file is None]
        decoded = iter(await self.others.decode(rest) if rest else ())
        return [next(decoded) if file is None else file for file in found]

    def _file(self, one_input: PredictInput) -> EncodedFile | None:
        try:
            data = one_input.content("image")
        except InputError:
            return None  # `others` says what is wrong
        fits = isinstance(data, bytes) and len(data) <= self.longest
        return EncodedFile(data) if fits and is_plain(data, self.spec, self.limits) else None  # type: ignore[arg-type]


def build_passthrough(
    classifier: ModelDescription, settings: Settings, others: CpuDecoder
) -> EncodedPassthrough | None:
    """The pass-through of an image model if a GPU decodes its files, else None. Raises ConfigError."""
    spec = classifier.spec.image
    if spec is None or not decodes_on_gpu(classifier, settings):
        return None
    limits = ImageLimits(settings.max_image_bytes, settings.max_pixels)
    longest = math.prod(spec.pixel_shape) if settings.engine_devices else limits.max_bytes
    return EncodedPassthrough(others, spec, limits, longest)
