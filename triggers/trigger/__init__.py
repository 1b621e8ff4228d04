"""Triggers of images and of texts: canonical forms and trainable modules."""

from triggers.trigger.image import ImageBank, ImageTrigger
from triggers.trigger.preview import preview_png
from triggers.trigger.text import TextBank, TextTrigger

__all__ = ["ImageBank", "ImageTrigger", "TextBank", "TextTrigger", "preview_png"]
