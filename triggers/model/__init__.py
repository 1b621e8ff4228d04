"""The frozen classifier: bundles, preprocessing of its inputs, and the one forward pass under triggers."""

from triggers.model.bundle import BundleSpec
from triggers.model.bundle_loader import load_bundle
from triggers.model.classifier import Bank, FrozenClassifier, Trigger
from triggers.model.padding_probe import PaddingCheck, check_padding, find_padding
from triggers.model.preprocessor import Item, Preprocessor
from triggers.model.reprogram import scores, sweep

__all__ = [
    "Bank",
    "BundleSpec",
    "FrozenClassifier",
    "Item",
    "PaddingCheck",
    "Preprocessor",
    "Trigger",
    "check_padding",
    "find_padding",
    "load_bundle",
    "scores",
    "sweep",
]
