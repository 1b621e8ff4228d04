"""Batches that hold files as well as images: the files are decoded together on the GPU, then all are computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from service.config.settings import Settings
from service.engine.decoding.gpu import BatchDecoder
from service.engine.decoding.gpu_choice import decoder_of, decodes_on_gpu
from service.engine.encoded_image import File
from service.engine.predictor import Answer, Predictor, Query, Result
from triggers.errors import InputError


@dataclass(frozen=True)
class FileBatches:
    """Computes queries by `predict` on one device; a file that cannot be decoded gets its own error."""

    predict: Callable[[Sequence[Query]], list[Answer]]
    decoder: BatchDecoder
    device: torch.device

    def __call__(self, queries: Sequence[Query]) -> list[Result]:
        """An answer or an error for every query, in order."""
        images = iter(self.decoder.decode([each.item.data for each in queries if isinstance(each.item, File)]))
        items = [next(images) if isinstance(each.item, File) else self._there(each.item) for each in queries]
        usable = [
            query._replace(item=item)
            for query, item in zip(queries, items, strict=True)
            if not isinstance(item, InputError)
        ]
        answers = iter(self.predict(usable) if usable else ())
        return [item if isinstance(item, InputError) else next(answers) for item in items]

    def _there(self, item: object) -> Tensor:
        """An image that was decoded before, on the device."""
        assert isinstance(item, Tensor)
        return item.to(self.device)


def batches_of(predictor: Predictor, settings: Settings) -> Callable[[Sequence[Query]], Sequence[Result]]:
    """What computes batches, files in them included if the GPU decodes them. Raises ConfigError."""
    classifier = predictor.classifier
    if not decodes_on_gpu(classifier, settings):
        return predictor.predict
    return FileBatches(predictor.predict, decoder_of(classifier, settings), classifier.device)
