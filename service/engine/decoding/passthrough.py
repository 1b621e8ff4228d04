"""Files that are passed on as they came, to be decoded by the GPU just before their batch is computed.

A plain JPEG is passed on, to another process if it fits into a slot; anything else is decoded here, by the ordinary
decoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from service.config import Settings
from service.engine.decoding.cpu import ItemDecoder
from service.engine.decoding.gpu import decodes_on_gpu, is_plain
from service.engine.types import Description, File, Wanted
from triggers.errors import InputError
from triggers.model import Item
from triggers.preprocessing import ImageLimits, ImageSpec

Passed: TypeAlias = Item | File | InputError
"""One input, ready to be handed over, or what is wrong with it."""


@dataclass(frozen=True)
class FilePasser:
    """Takes the place of a decoder; `others` decodes what cannot be passed on, such as files over `longest` bytes."""

    others: ItemDecoder
    spec: ImageSpec
    limits: ImageLimits
    longest: int

    async def decode(self, wanted: Sequence[Wanted]) -> Sequence[Passed]:
        """A file, an image or an error for every input, in order; on the event loop."""
        found = [self._file(want) for want in wanted]
        rest = [want for want, file in zip(wanted, found, strict=True) if file is None]
        decoded = iter(await self.others.decode(rest) if rest else ())
        return [next(decoded) if file is None else file for file in found]

    def _file(self, want: Wanted) -> File | None:
        try:
            data = want.content("image")
        except InputError:
            return None  # the other decoder says what is wrong
        fits = isinstance(data, bytes) and len(data) <= self.longest
        return File(data) if fits and is_plain(data, self.spec, self.limits) else None  # type: ignore[arg-type]


def passing_for(classifier: Description, settings: Settings, others: ItemDecoder) -> FilePasser | None:
    """What passes files on to where they are decoded on a GPU, if that is asked for. Raises ConfigError."""
    spec = classifier.spec.image
    if spec is None or not decodes_on_gpu(classifier, settings):
        return None
    limits = ImageLimits(settings.max_image_bytes, settings.max_pixels)
    longest = spec.channels * spec.size**2 if settings.engine_devices else limits.max_bytes
    return FilePasser(others, spec, limits, longest)
