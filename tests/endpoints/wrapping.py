"""An address wrapped as a bundle, and loaded again."""

from __future__ import annotations

from pathlib import Path

from triggers.allow_lists import AllowedHosts
from triggers.model import FrozenClassifier, load_bundle
from triggers.model.bundle import BundleSpec
from triggers.model.endpoint import EndpointLoader
from triggers.model.endpoint_classifier import EndpointClassifier
from triggers.sources import WrapOptions, read_source, write_source_bundle

EXACT = 1e-5
"""Largest difference of a score where nothing is lost on the way."""


def wrapped(url: str, options: WrapOptions, folder: Path) -> tuple[EndpointClassifier, BundleSpec]:
    """The bundle of an address, loaded again."""
    spec = write_source_bundle(read_source(url, options), folder, options)
    found = load_bundle(folder, hosts=AllowedHosts.of_url(url))
    assert isinstance(found, EndpointClassifier)
    return found, spec


def loader_of(model: FrozenClassifier) -> EndpointLoader:
    assert isinstance(model.spec.loader, EndpointLoader)
    return model.spec.loader
