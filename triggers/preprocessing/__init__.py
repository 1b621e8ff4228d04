"""Decoding of images and texts, the same in training and serving."""

from triggers.preprocessing.preprocess import ImageLimits, ImageSpec, Inputs, Padding, TextBatch, TextSpec, TokenIds
from triggers.preprocessing.text_template import TextTemplate

__all__ = ["ImageLimits", "ImageSpec", "Inputs", "Padding", "TextBatch", "TextSpec", "TextTemplate", "TokenIds"]
