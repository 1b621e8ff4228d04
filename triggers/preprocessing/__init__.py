"""Decoding of images and texts, the same in training and serving."""

from triggers.preprocessing.image_files import ImageLimits
from triggers.preprocessing.image_spec import ImageSpec
from triggers.preprocessing.preprocess import Inputs, TextBatch, TextSpec, TokenIds

__all__ = ["ImageLimits", "ImageSpec", "Inputs", "TextBatch", "TextSpec", "TokenIds"]
