"""The words that name versions, and the checks that a version passes before it scores."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fairtrigger.scoring import choose_versions
from tests.artifacts import artifact_for
from tests.fairtrigger.scoring.conftest import Desk
from triggers.artifact.artifact import save_artifact
from triggers.artifact.signature import make_keys, read_trust
from triggers.errors import ArtifactMismatch, ArtifactUncertified, ArtifactUntrusted, ConfigError, NotFound
from triggers.rollout.rollout_plan import Challenger, RolloutPlan
from triggers.store import Store, open_store


@pytest.fixture
def store(desk: Desk, tmp_path: Path) -> Store:
    """A copy of the store, to be changed."""
    shutil.copytree(desk.store, tmp_path / "store")
    return open_store(tmp_path / "store")


def names(desk: Desk, store: Store | None, *words: str, certified: bool = False) -> list[str]:
    return [version.name for version in choose_versions(words, desk.text, store, certified=certified)]


def test_words_name_versions_each_once_and_the_bare_model_first(desk: Desk, store: Store) -> None:
    assert names(desk, store) == ["v1"]
    assert names(desk, None) == ["none"]
    assert names(desk, store, "v2", "champion", "v1", "none") == ["none", "v2", "v1"]
    store.set_rollout("posts", RolloutPlan(None, Challenger(2, 0.5)), if_revision=None, actor="a", reason="")
    assert names(desk, store, "champion", "challenger") == ["none", "v2"]


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("v9", "v9|9"),
        ("challenger", "has no challenger now"),
        ("V1", "'V1' is no trigger: say none, v3"),
        ("gone.safetensors", "is no trigger"),
    ],
)
def test_a_word_for_nothing_is_refused(desk: Desk, store: Store, word: str, said: str) -> None:
    with pytest.raises((NotFound, ConfigError), match=said):
        names(desk, store, word)


def test_a_version_without_a_store_is_refused(desk: Desk) -> None:
    with pytest.raises(NotFound, match=r"v1 is in a trigger store: name one with --store"):
        names(desk, None, "v1")


def test_a_file_is_checked_against_model_and_keys(desk: Desk, tmp_path: Path) -> None:
    good, foreign = tmp_path / "good.safetensors", tmp_path / "foreign.safetensors"
    save_artifact(artifact_for(desk.text, "hard"), good)
    save_artifact(artifact_for(desk.text, "hard", model_fingerprint="sha256:" + "0" * 64), foreign)
    (chosen,) = choose_versions([str(good)], desk.text)
    assert (chosen.name, chosen.number) == ("good", None)
    with pytest.raises(ArtifactMismatch, match="was made for model fingerprint sha256:000"):
        choose_versions([str(foreign)], desk.text)
    (tmp_path / "them.pub").write_bytes(make_keys()[1])
    with pytest.raises(ArtifactUntrusted, match="not signed"):
        choose_versions([str(good)], desk.text, trust=read_trust([tmp_path / "them.pub"], required=True))


def test_a_refusal_of_the_store_is_in_its_history(desk: Desk, store: Store) -> None:
    with pytest.raises(ArtifactUncertified):
        names(desk, store, "champion", certified=True)
    assert store.history("posts", 1)[0].action == "refuse"
    assert names(desk, store, "v1", certified=True) == ["v1"]
