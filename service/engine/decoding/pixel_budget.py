"""A limit to the pixels of one request: a file of some kilobytes may claim fifty million, and a request holds many."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from math import prod
from typing import Protocol

from service.engine.decoding.passthrough import DecodedOrEncoded
from service.engine.types import PredictInput
from triggers.errors import InputError
from triggers.preprocessing import ImageLimits, ImageSpec
from triggers.preprocessing.image_files import claimed_size
from triggers.preprocessing.image_pipeline import steps_limit

REQUEST_TOO_MANY_PIXELS = "request_too_many_pixels"


class Decoder(Protocol):
    """Decodes the inputs of one request, each on its own."""

    async def decode(self, wanted: Sequence[PredictInput]) -> Sequence[DecodedOrEncoded]:
        """Every input, decoded or still encoded, or its error, in order."""
        ...


class PixelBudget:
    """Wraps an image model's decoder: adds up the pixels that headers claim before any file is decoded.

    An image counts as the largest picture on its way to the network; one over its own limit is never decoded and does
    not count. Requests of too few images to exceed `budget` pixels are not checked.
    """

    def __init__(
        self,
        decoder: Decoder,
        spec: ImageSpec,
        limits: ImageLimits,
        budget: int,
        threads: Executor,
        on_error: Callable[[str], None],
    ) -> None:
        self._decoder, self._spec, self._limits, self._budget = decoder, spec, limits, budget
        self._most = steps_limit(spec, limits)
        self._threads, self._on_error = threads, on_error

    async def decode(self, wanted: Sequence[PredictInput]) -> Sequence[DecodedOrEncoded]:
        """Decode the inputs. Raises InputError for the whole request if they claim too much. On the event loop."""
        if len(wanted) * self._most > self._budget:
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
            claimed += self._claim(data)
        return plain, claimed

    def _claim(self, data: bytes) -> int:
        """Pixels that one file costs; its header does not say which way up it is."""
        size = claimed_size(data, self._limits)
        if size is None:
            return 0
        most = max(prod(self._spec.largest(*size)), prod(self._spec.largest(*reversed(size))))
        return most if most <= self._most else size[0] * size[1]
