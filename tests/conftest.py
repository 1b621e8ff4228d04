"""Fixtures shared by several packages: two tiny frozen models, a store with triggers of every kind, a service."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import hypothesis
import pytest

from tests.artifacts import IMAGE_KINDS, TEXT_KINDS, artifact_for
from tests.bundles import image_bundle, text_bundle
from tests.redis_cluster import one_cluster, redis_cluster
from tests.redis_server import one_redis, own_redis, redis_server
from tests.service.live import running, settings
from tests.service.stores import where
from triggers.classifier import FrozenClassifier, load_bundle
from triggers.factories import VARIABLE
from triggers.file_store import FileStore

__all__ = ["one_cluster", "one_redis", "own_redis", "redis_cluster", "redis_server", "where"]


def pytest_configure() -> None:
    """Examples of a property may take long on a busy machine, as in CI; networks of this project may be built."""
    os.environ[VARIABLE] = "tests,benchmarks,examples"  # networks that tests build, in services that they start too
    if "CI" not in os.environ:
        hypothesis.settings.register_profile("unhurried", deadline=None)
        hypothesis.settings.load_profile("unhurried")


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """Shells start background jobs with SIGINT ignored, and children inherit that; some tests interrupt a child."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def image_model(tmp_path_factory: pytest.TempPathFactory) -> FrozenClassifier:
    """The tiny image classifier `faces`."""
    return load_bundle(image_bundle(tmp_path_factory.mktemp("faces")))


@pytest.fixture(scope="session")
def text_model(tmp_path_factory: pytest.TempPathFactory) -> FrozenClassifier:
    """The tiny text classifier `posts`."""
    return load_bundle(text_bundle(tmp_path_factory.mktemp("posts")))


@pytest.fixture
def filled_store(tmp_path: Path, image_model: FrozenClassifier, text_model: FrozenClassifier) -> Iterator[FileStore]:
    """A store with one version per trigger kind and nobody champion: faces v1 to v4, posts v1 to v3."""
    with FileStore(tmp_path / "store") as store:
        for model, kinds in ((image_model, tuple(IMAGE_KINDS)), (text_model, TEXT_KINDS)):
            for seed, kind in enumerate(kinds):
                store.publish(artifact_for(model, kind, seed=seed), actor="test")
        yield store


@pytest.fixture
def service(
    tmp_path: Path, filled_store: FileStore, image_model: FrozenClassifier, text_model: FrozenClassifier
) -> Iterator[httpx.Client]:
    """A client of a real service on a free port that serves both models from the filled store."""
    with running(settings(tmp_path), filled_store, [image_model, text_model]) as client:
        yield client
