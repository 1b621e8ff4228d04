"""From bodies to what a batch is made of: every input on its own, so that a broken one spoils nobody else's answer.

A small input is decoded at once, on the event loop: handing it to a thread and back takes longer than decoding it, and
is most of what a small request costs. Larger ones, and many at a time, go to threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import TypeAlias

from service.intake import Wanted
from service.settings import Settings
from triggers.classifier import FrozenClassifier, Item
from triggers.errors import InputError
from triggers.preprocess import ImageLimits, claimed_pixels

SMALL_REQUEST = 4
"""Inputs in a request that may be decoded on the loop: together well under a millisecond."""

SMALL_BYTES, SMALL_PIXELS, SMALL_TEXT = 16 * 1024, 128 * 128, 1000

Decoded: TypeAlias = Item | InputError
"""One input, ready for a batch, or what is wrong with it."""


class Decoding:
    """Decodes the inputs of one model's requests, on at most `settings.decode_threads` of the shared `threads`."""

    def __init__(
        self, classifier: FrozenClassifier, settings: Settings, threads: Executor, on_error: Callable[[str], None]
    ) -> None:
        self._classifier, self._settings, self._threads, self._on_error = classifier, settings, threads, on_error
        self._limits = ImageLimits(settings.max_image_bytes, settings.max_pixels)

    async def decode(self, wanted: Sequence[Wanted]) -> Sequence[Decoded]:
        """Every input decoded, or its error in its place; on the event loop."""
        items = self._at_once(wanted) or await self._on_threads(wanted)
        for item in items:
            if isinstance(item, InputError):
                self._on_error(item.code)
        return items

    def _at_once(self, wanted: Sequence[Wanted]) -> Sequence[Decoded] | None:
        """All inputs, decoded here; None if any might take long."""
        if len(wanted) > SMALL_REQUEST or any(len(want.payload) > SMALL_BYTES for want in wanted):
            return None
        contents = [self._content(want) for want in wanted]
        if not all(isinstance(content, InputError) or _is_small(content) for content in contents):
            return None
        return [self._item(content) for content in contents]

    async def _on_threads(self, wanted: Sequence[Wanted]) -> list[Decoded]:
        """One hand-over per thread, each with its part of the request."""
        size = -(-len(wanted) // self._settings.decode_threads)
        loop = asyncio.get_running_loop()
        parts = [wanted[start : start + size] for start in range(0, len(wanted), size)]
        done = await asyncio.gather(*(loop.run_in_executor(self._threads, self._each, part) for part in parts))
        return [item for items in done for item in items]

    def _each(self, wanted: Sequence[Wanted]) -> list[Decoded]:
        return [self._item(self._content(want)) for want in wanted]

    def _content(self, want: Wanted) -> bytes | str | InputError:
        try:
            return want.content(self._classifier.modality)
        except InputError as error:
            return error

    def _item(self, content: bytes | str | InputError) -> Decoded:
        if isinstance(content, InputError):
            return content
        if isinstance(content, str) and len(content) > self._settings.max_text_chars:
            message = f"The text has {len(content)} characters; at most {self._settings.max_text_chars} are accepted."
            return InputError("text_too_large", message)
        try:
            return self._classifier.preprocess(content, self._limits)
        except InputError as error:
            return error


def _is_small(content: bytes | str) -> bool:
    if isinstance(content, str):
        return len(content) <= SMALL_TEXT
    pixels = claimed_pixels(content)
    return pixels is not None and pixels <= SMALL_PIXELS
