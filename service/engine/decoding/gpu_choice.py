"""Whether a model's images are decoded on its GPU, and by what."""

from __future__ import annotations

from service.config.settings import Settings
from service.engine.decoding.gpu import BatchDecoder
from service.engine.types import Description
from triggers.errors import ConfigError
from triggers.preprocessing.preprocess import ImageLimits


def decodes_on_gpu(classifier: Description, settings: Settings) -> bool:
    """Whether the GPU's decoder is asked for and the model takes images. Raises ConfigError if there is none."""
    if settings.decoder == "cpu" or classifier.spec.image is None:
        return False
    if classifier.device.type != "cuda":
        raise ConfigError(f"decoder is gpu, but the model runs on {classifier.device}: set device to cuda as well.")
    return True


def decoder_of(classifier: Description, settings: Settings) -> BatchDecoder:
    """The decoder of a model that takes images."""
    assert classifier.spec.image
    limits = ImageLimits(settings.max_image_bytes, settings.max_pixels)
    return BatchDecoder(classifier.spec.image, limits, classifier.device)
