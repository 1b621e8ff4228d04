"""Batched decoding in front of the model: files wait together, as rows do, and each gets its image or its own error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from service.batch_decoder import BatchDecoder
from service.batcher import Batcher
from service.intake import Wanted
from triggers.classifier import Item
from triggers.errors import InputError


@dataclass(frozen=True)
class Encoded:
    """An input that is still a file."""

    wanted: Wanted

    @property
    def cost(self) -> int:
        """Files in a batch."""
        return 1


class Decoding:
    """A decoding thread: a batch is whatever queued while the last one was decoded."""

    def __init__(self, decoder: BatchDecoder, *, name: str, max_batch: int, capacity: int) -> None:
        self._decoder = decoder
        self._batcher: Batcher[Encoded, Item | InputError] = Batcher(
            self._run, name=f"decode-{name}", max_batch=max_batch, capacity=capacity
        )

    def start(self) -> None:
        """Start the thread; inside the event loop."""
        self._batcher.start()

    async def close(self) -> None:
        """Finish what is queued and end the thread."""
        await self._batcher.close()

    async def decode(self, wanted: Sequence[Wanted]) -> list[Item | InputError]:
        """An image on the device for every input, or what is wrong with it, in order."""
        found, _ = await self._batcher.submit([Encoded(want) for want in wanted])
        return found

    def _run(self, batch: Sequence[Encoded]) -> list[Item | InputError]:
        contents = [_content(each.wanted) for each in batch]
        images = iter(self._decoder.decode([data for data in contents if isinstance(data, bytes)]))
        return [next(images) if isinstance(data, bytes) else data for data in contents]


def _content(wanted: Wanted) -> bytes | InputError:
    try:
        data = wanted.content("image")
    except InputError as error:
        return error
    assert isinstance(data, bytes)
    return data
