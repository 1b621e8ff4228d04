"""The GPU decoder of JPEG batches, an option; unusual files go to the CPU decoder, as in training and tests.

A GPU's decoder interpolates colours and resizes in its own way: pixels differ slightly from the CPU's, so the model
card states this option (`benchmarks/serve_gpu.py` measures by how much). A batch may hold files as well as images: its
files are decoded together, then all are computed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from service.config import Settings
from service.engine.predictor import BatchItem, BatchResult, Predictor, Scored
from service.engine.types import EncodedFile, ModelDescription
from triggers.errors import ConfigError, InputError
from triggers.preprocessing import ImageLimits, ImageSpec
from triggers.preprocessing.image_spec import Fit, Resize
from triggers.preprocessing.jpeg import plain_size
from triggers.preprocessing.preprocess import decode_image

END_OF_IMAGE = b"\xff\xd9"

MAX_SIDE_PIXELS = 4096
"""Longest side decoded on the GPU, so that a batch cannot fill its memory; larger files go to the CPU decoder."""


def decodes_on_gpu(classifier: ModelDescription, settings: Settings) -> bool:
    """Whether the GPU decoder is asked for and the model takes colour images.

    Raises ConfigError without a GPU, and for a model whose steps the GPU decoder does not know.
    """
    spec = classifier.spec.image
    if settings.decoder == "cpu" or spec is None:
        return False
    if classifier.device.type != "cuda":
        raise ConfigError(f"decoder is gpu, but the model runs on {classifier.device}: set device to cuda as well.")
    if not _knows_steps(spec):
        message = f"decoder is gpu, which knows one resize or fit by PIL's bilinear filter, but {classifier.name!r}"
        raise ConfigError(f"{message} states other steps, which are exact on the CPU alone: set decoder to cpu.")
    return spec.channels == 3


def _knows_steps(spec: ImageSpec) -> bool:
    """Whether an image input is one resize or fit by PIL's bilinear filter."""
    step = spec.steps[0] if len(spec.steps) == 1 else None
    if isinstance(step, Resize):
        return bool(step.height) and (step.library, step.interpolation) == ("pil", "bilinear")
    return isinstance(step, Fit)


def build_gpu_decoder(classifier: ModelDescription, settings: Settings) -> GpuDecoder:
    """The GPU decoder of an image model."""
    assert classifier.spec.image
    limits = ImageLimits(settings.max_image_bytes, settings.max_pixels)
    return GpuDecoder(classifier.spec.image, limits, classifier.device)


def is_plain(data: bytes, spec: ImageSpec, limits: ImageLimits) -> bool:
    """Whether a file is a plain colour JPEG (triggers/preprocessing/jpeg.py) within the limits, with its end mark."""
    size = plain_size(data) if len(data) <= limits.max_bytes else None
    if size is None or spec.channels != 3 or not data.endswith(END_OF_IMAGE):
        return False
    return size[0] * size[1] <= limits.max_pixels and max(size) <= MAX_SIDE_PIXELS


class GpuDecoder:
    """Decodes files into images (C, H, W) uint8 on a device. On any thread, one at a time."""

    def __init__(self, spec: ImageSpec, limits: ImageLimits, device: torch.device) -> None:
        self._spec, self._limits, self._device = spec, limits, device
        self._turn = threading.Lock()
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def decode(self, files: Sequence[bytes]) -> list[Tensor | InputError]:
        """One image per file, or its error; a broken file does not affect the others."""
        plain = [n for n, data in enumerate(files) if is_plain(data, self._spec, self._limits)]
        with self._turn, torch.cuda.stream(self._stream) if self._stream else nullcontext():
            decoded = dict(zip(plain, self._together([files[n] for n in plain]), strict=True))
            found = [self._alone(data) if (image := decoded.get(n)) is None else image for n, data in enumerate(files)]
            if self._stream:
                self._stream.synchronize()
        return found

    def _together(self, files: Sequence[bytes]) -> Sequence[Tensor | None]:
        """All files at once. If that fails, one by one: the broken ones are None, the others' pixels are the same."""
        from torchvision.io import ImageReadMode, decode_jpeg

        if not files:
            return []
        raw = [torch.frombuffer(bytearray(data), dtype=torch.uint8) for data in files]
        try:
            images = decode_jpeg(raw, mode=ImageReadMode.RGB, device=self._device)
            return [self._resized(image) for image in images]
        except RuntimeError:
            return [None] if len(files) == 1 else [self._together([data])[0] for data in files]

    def _alone(self, data: bytes) -> Tensor | InputError:
        """Decode one file by the CPU decoder, which also says what is wrong."""
        try:
            return decode_image(data, self._spec, self._limits).to(self._device)
        except InputError as error:
            return error

    def _resized(self, image: Tensor) -> Tensor:
        """Image (C, H, W) to the network's size; `fit` keeps the central part, to the pixel."""
        target, (height, width) = (self._spec.height, self._spec.width), image.shape[-2:]
        if isinstance(self._spec.steps[0], Fit):
            scale = min(height / target[0], width / target[1])
            rows, columns = (max(1, round(scale * side)) for side in target)
            top, left = (height - rows) // 2, (width - columns) // 2
            image = image[:, top : top + rows, left : left + columns]
        if image.shape[-2:] == target:
            return image
        floats = image[None].to(torch.float32)
        small = interpolate(floats, size=target, mode="bilinear", antialias=True, align_corners=False)
        return small[0].round().clamp(0, 255).to(torch.uint8)


@dataclass(frozen=True)
class DecodingPredictor:
    """Decodes the files of a batch, then runs `predict`; a file that cannot be decoded gets its own error."""

    predict: Callable[[Sequence[BatchItem]], list[Scored]]
    decoder: GpuDecoder
    device: torch.device

    def __call__(self, batch_items: Sequence[BatchItem]) -> list[BatchResult]:
        """An answer or an error for every item, in order."""
        images = iter(
            self.decoder.decode([each.item.data for each in batch_items if isinstance(each.item, EncodedFile)])
        )
        items = [next(images) if isinstance(each.item, EncodedFile) else self._there(each.item) for each in batch_items]
        usable = [
            batch_item._replace(item=item)
            for batch_item, item in zip(batch_items, items, strict=True)
            if not isinstance(item, InputError)
        ]
        answers = iter(self.predict(usable) if usable else ())
        return [item if isinstance(item, InputError) else next(answers) for item in items]

    def _there(self, item: object) -> Tensor:
        """Copy an already decoded image to the device."""
        assert isinstance(item, Tensor)
        return item.to(self.device)


def build_batch_function(
    predictor: Predictor, settings: Settings
) -> Callable[[Sequence[BatchItem]], Sequence[BatchResult]]:
    """The batch function of a predictor, with GPU decoding if the settings ask for it. Raises ConfigError."""
    classifier = predictor.classifier
    if not decodes_on_gpu(classifier, settings):
        return predictor.predict
    return DecodingPredictor(predictor.predict, build_gpu_decoder(classifier, settings), classifier.device)
