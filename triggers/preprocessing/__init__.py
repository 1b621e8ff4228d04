"""Decoding of images and texts, the same in training and serving."""

from triggers.preprocessing.preprocess import ImageLimits, ImageSpec, Inputs, TextBatch, TextSpec, TokenIds

__all__ = ["ImageLimits", "ImageSpec", "Inputs", "TextBatch", "TextSpec", "TokenIds"]
