"""A limit to the pixels of one request: a file of some kilobytes may claim fifty million, and a request holds many."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Protocol

from service.encoded import Passed
from service.intake import Wanted
from triggers.errors import InputError
from triggers.preprocess import ImageLimits, claimed_pixels

REQUEST_TOO_MANY_PIXELS = "request_too_many_pixels"


class Decoder(Protocol):
    """Decodes the inputs of one request, each on its own."""

    async def decode(self, wanted: Sequence[Wanted]) -> Sequence[Passed]:
        """Every input, ready to be handed over, or what is wrong with it, in order."""
        ...


class PixelBudget:
    """In front of an image model's decoder: adds up what the files' headers claim before any file is decoded.

    An image over a limit of its own costs nothing and does not count. Requests of so few images that they cannot come
    over `budget` pixels are passed on as they are.
    """

    def __init__(
        self, decoder: Decoder, limits: ImageLimits, budget: int, threads: Executor, on_error: Callable[[str], None]
    ) -> None:
        self._decoder, self._limits, self._budget = decoder, limits, budget
        self._threads, self._on_error = threads, on_error

    async def decode(self, wanted: Sequence[Wanted]) -> Sequence[Passed]:
        """What the decoder makes of the inputs. Raises InputError for the whole request if they claim too much."""
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

    def _claims(self, wanted: Sequence[Wanted]) -> tuple[list[Wanted], int]:
        """The same inputs, their base64 undone, and the pixels that all of them claim; on a thread."""
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
