"""The frozen classifier: bundles, preprocessing of its inputs, and the one forward pass under triggers."""

from triggers.model.bundle import BundleSpec
from triggers.model.classifier import Bank, FrozenClassifier, Trigger, load_bundle
from triggers.model.preprocessor import Item, Preprocessor
from triggers.model.reprogram import scores, sweep

__all__ = [
    "Bank",
    "BundleSpec",
    "FrozenClassifier",
    "Item",
    "Preprocessor",
    "Trigger",
    "load_bundle",
    "scores",
    "sweep",
]
