"""A limit to the pixels of one request: a file of some kilobytes may claim fifty million, and a request holds many."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Protocol

from service.engine.decoding.passthrough import DecodedOrEncoded
from service.engine.types import PredictInput
from triggers.errors import InputError
from triggers.preprocessing import ImageLimits
from triggers.preprocessing.image_files import claimed_pixels

REQUEST_TOO_MANY_PIXELS = "request_too_many_pixels"


class Decoder(Protocol):
    """Decodes the inputs of one request, each on its own."""

    async def decode(self, wanted: Sequence[PredictInput]) -> Sequence[DecodedOrEncoded]:
        """Every input, decoded or still encoded, or its error, in order."""
        ...


class PixelBudget:
    """Wraps an image model's decoder: adds up the pixels that headers claim before any file is decoded.

    An image over its own limit is never decoded and does not count. Requests of too few images to exceed `budget`
    pixels are not checked.
    """

    def __init__(
        self, decoder: Decoder, limits: ImageLimits, budget: int, threads: Executor, on_error: Callable[[str], None]
    ) -> None:
        self._decoder, self._limits, self._budget = decoder, limits, budget
        self._threads, self._on_error = threads, on_error

    async def decode(self, wanted: Sequence[PredictInput]) -> Sequence[DecodedOrEncoded]:
        """Decode the inputs. Raises InputError for the whole request if they claim too much. On the event loop."""
        if len(wanted) * self._limits.max_pixels > self._budget:
            loop = asyncio.get_running_loop()
            wanted, claimed = await loop.run_in_executor(self._threads, self._claims, wanted)
            if claimed > self._budget:
                self._on_error(REQUEST_TOO_MANY_PIXELS)
                detail = f"The request's {len(wanted)} images claim {claimed} pixels; at most {self._budget} in all"
                raise InputError(
                    REQUEST_TOO_MANY_PIXELS, f"{detail} are accepted. Send fewer at once, or smaller ones."
                )
        return await self._decoder.decode(wanted)

    def _claims(self, wanted: Sequence[PredictInput]) -> tuple[list[PredictInput], int]:
        """The same inputs, base64-decoded, and the pixels that they claim in all. On a decode thread."""
        plain, claimed = [], 0
        for want in wanted:
            try:
                data = want.content("image")
            except InputError:  # the decoder says what is wrong
                plain.append(want)
                continue
            assert isinstance(data, bytes)
            plain.append(want._replace(payload=data, encoded=False))
            claimed += claimed_pixels(data, self._limits)
        return plain, claimed
