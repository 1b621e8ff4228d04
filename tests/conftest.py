"""Fixtures shared by several packages: two tiny frozen models, a store with triggers of every kind, a service.

What is imported here every test pays for, so torch and the service are imported where they are used.
"""

from __future__ import annotations

import atexit
import gc
import os
import shutil
import signal
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from tests.mlflow_server import mlflow_server
from tests.redis_servers.cluster import one_cluster, redis_cluster
from tests.redis_servers.server import one_redis, own_redis, redis_server
from tests.tiers import LONG, Tiers
from triggers.allow_lists import FACTORIES_VARIABLE

if TYPE_CHECKING:
    import httpx

    from triggers.model.classifier import FrozenClassifier
    from triggers.store.file_store import FileStore

__all__ = ["mlflow_server", "one_cluster", "one_redis", "own_redis", "redis_cluster", "redis_server"]


def pytest_configure(config: pytest.Config) -> None:
    """Examples of a property may take long on a busy machine, as in CI; networks of this project may be built."""
    config.pluginmanager.register(Tiers())
    os.environ[FACTORIES_VARIABLE] = (
        "tests,benchmarks,examples,fairtrigger.demo"  # networks that tests build, in services that they start too
    )
    if "CI" not in os.environ:
        hypothesis.settings.register_profile("unhurried", deadline=None)
        hypothesis.settings.load_profile("unhurried")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported stays: no collection of garbage has to look through it, then and later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()
        atexit.register(gc.unfreeze)  # else libraries say at the end that they leak


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with tests that take long come first: at the end none of them is left with nothing to run beside it."""
    long = {item.path for item in items if any(item.get_closest_marker(name) for name in LONG)}
    items.sort(key=lambda item: item.path not in long)


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """Shells start background jobs with SIGINT ignored, and children inherit that; some tests interrupt a child."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def image_model(tmp_path_factory: pytest.TempPathFactory) -> FrozenClassifier:
    """The tiny image classifier `faces`."""
    from tests.bundles import image_bundle
    from triggers.model import load_bundle

    return load_bundle(image_bundle(tmp_path_factory.mktemp("faces")))


@pytest.fixture(scope="session")
def text_model(tmp_path_factory: pytest.TempPathFactory) -> FrozenClassifier:
    """The tiny text classifier `posts`."""
    from tests.bundles import text_bundle
    from triggers.model import load_bundle

    return load_bundle(text_bundle(tmp_path_factory.mktemp("posts")))


@pytest.fixture(scope="session")
def filled_folder(
    tmp_path_factory: pytest.TempPathFactory, image_model: FrozenClassifier, text_model: FrozenClassifier
) -> Path:
    """The folder of a closed store as `filled_store` says, to be copied."""
    from tests.artifacts import IMAGE_KINDS, TEXT_KINDS, artifact_for
    from triggers.store.file_store import FileStore

    folder = tmp_path_factory.mktemp("filled") / "store"
    with FileStore(folder) as store:
        for model, kinds in ((image_model, tuple(IMAGE_KINDS)), (text_model, TEXT_KINDS)):
            for seed, kind in enumerate(kinds):
                store.publish(artifact_for(model, kind, seed=seed), actor="test")
    return folder


@pytest.fixture
def filled_store(tmp_path: Path, filled_folder: Path) -> Iterator[FileStore]:
    """A store with one version per trigger kind and nobody champion: faces v1 to v4, posts v1 to v3."""
    from triggers.store.file_store import FileStore

    shutil.copytree(filled_folder, tmp_path / "store")
    with FileStore(tmp_path / "store") as store:
        yield store


@pytest.fixture
def service(
    tmp_path: Path, filled_store: FileStore, image_model: FrozenClassifier, text_model: FrozenClassifier
) -> Iterator[httpx.Client]:
    """A client of a real service on a free port that serves both models from the filled store."""
    from tests.service.live import running, settings

    with running(settings(tmp_path), filled_store, [image_model, text_model]) as client:
        yield client
