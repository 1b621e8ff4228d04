"""Two tiny bundles and a store with triggers for both, shared by the tests of scoring; nothing there is changed."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from tests.artifacts import artifact_for
from tests.bundles import image_bundle, text_bundle
from triggers.model import FrozenClassifier, load_bundle
from triggers.store import open_store


class Desk(NamedTuple):
    """Folders of the bundles and the store; v1 and v2 of each model are published, v1 of posts is champion."""

    posts: Path
    faces: Path
    store: str
    text: FrozenClassifier
    image: FrozenClassifier


@pytest.fixture(scope="session")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    folder = tmp_path_factory.mktemp("desk")
    posts, faces = text_bundle(folder / "posts"), image_bundle(folder / "faces")
    text, image = load_bundle(posts), load_bundle(faces)
    with open_store(folder / "store") as store:
        for kind in ("hard", "soft"):
            store.publish(artifact_for(text, kind), actor="test")
        for kind in ("border", "overlay"):
            store.publish(artifact_for(image, kind), actor="test")
        store.set_rollout("posts", 1, if_revision=None, actor="test", reason="")
    return Desk(posts, faces, str(folder / "store"), text, image)
