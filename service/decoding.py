"""Batched decoding on the GPU: files wait together, as rows do, and each gets its image or its own error.

In a single process it stands in front of the model; where several speak HTTP, they pass files on (encoded.py), and
each batch is decoded just before it is computed (file_batches.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from service.batch_decoder import BatchDecoder
from service.batcher import Batcher
from service.description import Description
from service.gpu_decoder import decoder_of, decodes_on_gpu
from service.intake import Wanted
from service.settings import Settings
from triggers.errors import InputError
from triggers.preprocessor import Item


@dataclass(frozen=True)
class Encoded:
    """An input that is still a file."""

    wanted: Wanted

    @property
    def cost(self) -> int:
        """Files in a batch."""
        return 1


def decoding_for(classifier: Description, settings: Settings, on_error: Callable[[str], None]) -> Decoding | None:
    """The GPU's decoder in front of a model of this process, if it is asked for. Raises ConfigError."""
    if settings.engine_devices or not decodes_on_gpu(classifier, settings):
        return None
    most, capacity = settings.max_batch, settings.queue_size
    decoder = decoder_of(classifier, settings)
    return Decoding(decoder, on_error, name=classifier.name, max_batch=most, capacity=capacity)


class Decoding:
    """A decoding thread: a batch is whatever queued while the last one was decoded."""

    def __init__(
        self, decoder: BatchDecoder, on_error: Callable[[str], None], *, name: str, max_batch: int, capacity: int
    ) -> None:
        self._decoder, self._on_error = decoder, on_error
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
        for item in found:
            if isinstance(item, InputError):
                self._on_error(item.code)
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
