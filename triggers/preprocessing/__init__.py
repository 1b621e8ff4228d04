"""Decoding of images and texts, the same in training and serving."""

from triggers.preprocessing.image_files import ImageLimits
from triggers.preprocessing.image_spec import ImageSpec
from triggers.preprocessing.preprocess import Inputs, Padding, TextBatch, TextSpec, TokenIds
from triggers.preprocessing.text_template import TextTemplate

__all__ = ["ImageLimits", "ImageSpec", "Inputs", "Padding", "TextBatch", "TextSpec", "TextTemplate", "TokenIds"]
