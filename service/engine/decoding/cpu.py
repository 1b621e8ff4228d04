"""The CPU decoder: every input on its own, so that a broken one does not affect the others.

Small inputs are decoded on the event loop: handing them to a thread and back takes longer than decoding them, and is
most of the cost of a small request. Larger ones, and many at a time, go to threads. One of several HTTP workers decodes
more on its event loop: its threads would compete for the interpreter lock, and the other workers use the other cores.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import TypeAlias

from service.config import Settings
from service.engine.types import ModelDescription, PredictInput
from triggers.errors import InputError
from triggers.model import Item
from triggers.preprocessing import ImageLimits

SMALL_REQUEST = 4
"""Most inputs of a request that is decoded on the event loop: together well under a millisecond."""

SMALL_BYTES = {"image": 16 * 1024, "file": 16 * 1024, "text": 1000}
"""Longest payload of a small input by kind; a small image also claims at most SMALL_PIXELS.

In one of several HTTP workers, each of n inputs may be SMALL_REQUEST // n times as large.
"""

SMALL_PIXELS = 128 * 128
TOO_MANY_PIXELS = "image_too_many_pixels"

Decoded: TypeAlias = Item | InputError
"""One input, ready for a batch, or its error."""


class CpuDecoder:
    """Decodes the inputs of one model's requests, on at most `settings.decode_threads` of the shared `threads`."""

    def __init__(
        self, classifier: ModelDescription, settings: Settings, threads: Executor, on_error: Callable[[str], None]
    ) -> None:
        self._classifier, self._settings, self._threads, self._on_error = classifier, settings, threads, on_error
        self._limits = ImageLimits(settings.max_image_bytes, settings.max_pixels)
        self._several = settings.multi_process
        self._small = [
            ImageLimits(settings.max_image_bytes, min(settings.max_pixels, share * SMALL_PIXELS))
            for share in range(SMALL_REQUEST + 1)
        ]

    async def decode(self, inputs: Sequence[PredictInput]) -> Sequence[Decoded]:
        """Every input decoded, or its error, in order. On the event loop."""
        items = self._decode_inline(inputs) or await self._on_threads(inputs)
        for item in items:
            if isinstance(item, InputError):
                self._on_error(item.code)
        return items

    def _decode_inline(self, inputs: Sequence[PredictInput]) -> Sequence[Decoded] | None:
        """All inputs, decoded on the event loop; None if any is not small."""
        if len(inputs) > SMALL_REQUEST:
            return None
        share = SMALL_REQUEST // max(1, len(inputs)) if self._several else 1
        if any(len(one_input.payload) > share * SMALL_BYTES[one_input.kind] for one_input in inputs):
            return None
        items = [self._item(one_input, self._small[share]) for one_input in inputs]
        too_large = any(isinstance(item, InputError) and item.code == TOO_MANY_PIXELS for item in items)
        return None if too_large else items

    async def _on_threads(self, inputs: Sequence[PredictInput]) -> list[Decoded]:
        """One hand-over per thread, each with its part of the request."""
        size = -(-len(inputs) // self._settings.decode_threads)
        loop = asyncio.get_running_loop()
        parts = [inputs[start : start + size] for start in range(0, len(inputs), size)]
        done = await asyncio.gather(*(loop.run_in_executor(self._threads, self._each, part) for part in parts))
        return [item for items in done for item in items]

    def _each(self, inputs: Sequence[PredictInput]) -> list[Decoded]:
        return [self._item(one_input, self._limits) for one_input in inputs]

    def _item(self, one_input: PredictInput, limits: ImageLimits) -> Decoded:
        try:
            content = one_input.content(self._classifier.modality)
            if isinstance(content, str):
                self._check_length(content)
            return self._classifier.preprocess(content, limits)
        except InputError as error:
            return error

    def _check_length(self, text: str) -> None:
        if len(text) > self._settings.max_text_chars:
            message = f"The text has {len(text)} characters; at most {self._settings.max_text_chars} are accepted."
            raise InputError("text_too_large", message)
