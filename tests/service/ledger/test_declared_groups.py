"""Which group names count: what manifests, bundle and settings declare, its combinations, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.ledger.declared_groups import Declarations, DeclaredGroups
from service.ledger.ledger import OTHER_GROUP, Ledger
from tests.artifacts import artifact_for, image_trigger, manifest_for
from tests.service.counted import NEVER
from triggers.artifact.manifest import DataCount
from triggers.metrics.overlapping_groups import UNDECLARED
from triggers.model.classifier import FrozenClassifier
from triggers.store.file_store import FileStore
from triggers.store.store import VersionInfo

PEOPLE = DeclaredGroups().with_names(["sex=f,age=old", "age=young,sex=m", "Male & not Young"])
ROWS = tuple(DataCount(split="train", group=group, label=0, count=5) for group in ("none", "muslim + black", "female"))
OVERLAPPING = DeclaredGroups().with_manifest(
    manifest_for(
        image_trigger(), groups=("black", "female", "muslim"), groups_overlap=True, data_counts=ROWS, evaluation=()
    )
)


@pytest.mark.parametrize(
    ("name", "spelled"),
    [
        ("sex=f,age=old", "age=old,sex=f"),
        (" age = old , sex=f", "age=old,sex=f"),
        ("sex=f", "sex=f"),
        ("sex=f,age=young", "age=young,sex=f"),
        ("Male & not Young", "Male & not Young"),
        ("sex=x,age=old", None),
        ("sex=f,age=old,race=b", None),
        ("age=f", None),
        ("male & not young", None),
        ("none", None),
        ("f", None),
        ("undeclared", None),
    ],
)
def test_attributes_count_in_one_order_and_in_every_combination(name: str, spelled: str | None) -> None:
    assert PEOPLE.spelled(name) == spelled


@pytest.mark.parametrize(
    ("name", "spelled"),
    [
        ("black", "black"),
        ("muslim + black", "black + muslim"),
        ("black + black", "black"),
        ("female + muslim", "female + muslim"),
        ("none", "none"),
        ("black + strange", None),
        ("unknown + black", "black"),
        ("undeclared", None),
    ],
)
def test_identities_count_in_one_order_and_in_every_combination(name: str, spelled: str | None) -> None:
    assert OVERLAPPING.spelled(name) == spelled


def test_only_combinations_that_nobody_declared_take_places(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.sqlite", flush_interval=NEVER, max_groups=2) as ledger:
        for n in range(3):
            ledger.canonical_group("m", f"junk {n}")
        assert ledger.group_limit_reached("m")
        ledger.declare("m", OVERLAPPING)
        assert not ledger.group_limit_reached("m"), "places that were taken before are free again"
        assert [ledger.canonical_group("m", f"junk {n}") for n in range(200)] == [UNDECLARED] * 200
        assert [ledger.canonical_group("m", name) for name in ("muslim + black", "female", None, " ", "other")] == [
            "black + muslim", "female", "unknown", "unknown", UNDECLARED,
        ]  # fmt: skip
        taken = ["black + female", "female + muslim", "black + female + muslim"]
        assert [ledger.canonical_group("m", name) for name in taken] == [*taken[:2], OTHER_GROUP]
        assert ledger.group_limit_reached("m") and ledger.canonical_group("m", "female + black") == taken[0]
        assert ledger.groups("m") == OVERLAPPING.names | set(taken[:2])
        assert ledger.canonical_group("another", "anything") == "anything"
    with Ledger(tmp_path / "ledger.sqlite", flush_interval=NEVER, max_groups=2) as ledger:
        ledger.declare("m", OVERLAPPING)
        assert ledger.canonical_group("m", taken[2]) == OTHER_GROUP, "who has a place keeps it over a restart"
        ledger.declare("m", None)
        assert ledger.canonical_group("m", "junk 0") == "junk 0"


def test_every_version_declares_also_those_published_later(tmp_path: Path, image_model: FrozenClassifier) -> None:
    with FileStore(tmp_path / "store") as store:
        declared = Declarations("faces", store, ["named"])
        assert declared.refresh().names == {"named"}
        for seed, groups in enumerate((("a", "b"), ("b", "c"))):
            store.publish(artifact_for(image_model, "border", seed, groups=groups, evaluation=()), actor="test")
        assert declared.refresh().names == {"named", "a", "b", "c"}
        store.publish(artifact_for(image_model, "border", 7, groups=("d",), evaluation=()), actor="test")
        assert declared.refresh().names == {"named", "a", "b", "c", "d"}
        assert not Declarations("nobody", store).refresh()


class CountedStore(FileStore):
    """A store that notes which versions were read."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.read: list[int | str] = []

    def versions(self, model: str, limit: int | None = None, before: int | None = None) -> list[VersionInfo]:
        self.read.append("all")
        return super().versions(model, limit, before)

    def version(self, model: str, version: int) -> VersionInfo:
        self.read.append(version)
        return super().version(model, version)


def test_a_start_reads_the_manifests_of_new_versions_only(tmp_path: Path, image_model: FrozenClassifier) -> None:
    with CountedStore(tmp_path / "store") as store:
        for seed in range(4):
            store.publish(artifact_for(image_model, "border", seed, groups=(f"g{seed}",), evaluation=()), actor="test")
        first = Declarations("faces", store, ["named"], tmp_path).refresh()
        assert first.names == {"named", "g0", "g1", "g2", "g3"} and store.read == ["all", 5]
        store.read.clear()
        again = Declarations("faces", store, ["other"], tmp_path).refresh()
        assert again.names == {"other", "g0", "g1", "g2", "g3"} and store.read == [4, 5]
        store.publish(artifact_for(image_model, "border", 9, groups=("late",), evaluation=()), actor="test")
        assert "late" in Declarations("faces", store, (), tmp_path).refresh().names
        store.read.clear()
        assert "late" in Declarations("faces", store, (), tmp_path).refresh().names and store.read == [5, 6]


@pytest.mark.parametrize(
    "noted", ["", "{", "[]", '{"version": 1, "digest": "sha256:0", "names": ["x"], "identities": []}']
)
def test_notes_of_another_store_or_none_are_not_believed(
    tmp_path: Path, image_model: FrozenClassifier, noted: str
) -> None:
    (tmp_path / "groups-faces.json").write_text(noted)
    with FileStore(tmp_path / "store") as store:
        store.publish(artifact_for(image_model, "border", 1, groups=("a", "b"), evaluation=()), actor="test")
        assert Declarations("faces", store, (), tmp_path).refresh().names == {"a", "b"}


def test_overlapping_groups_are_the_same_after_a_start(tmp_path: Path, image_model: FrozenClassifier) -> None:
    with FileStore(tmp_path / "store") as store:
        overlapping = {"groups": ("black", "female", "muslim"), "groups_overlap": True, "evaluation": ()}
        store.publish(artifact_for(image_model, "border", 1, data_counts=ROWS, **overlapping), actor="test")
        first = Declarations("faces", store, (), tmp_path).refresh()
        assert first.identities == {"black", "female", "muslim"}
        assert Declarations("faces", store, (), tmp_path).refresh() == first


class AskedGroups(DeclaredGroups):
    """Declared groups that count how often a name is spelled."""

    asked = 0

    def spelled(self, name: str) -> str | None:
        AskedGroups.asked += 1
        return super().spelled(name)


def test_placing_a_combination_looks_at_that_name_only(tmp_path: Path) -> None:
    """64 declared groups of four attributes make 65,536 combinations; those beyond the limit cost one look each."""
    names = frozenset(f"{attribute}={value}" for attribute in "abcd" for value in range(16))
    crossed = [f"a={a},b={b},c=0,d=0" for a in range(16) for b in range(16)]
    with Ledger(tmp_path / "ledger.sqlite", flush_interval=NEVER, max_groups=64) as ledger:
        ledger.declare("m", AskedGroups(names))
        assert [ledger.canonical_group("m", name) for name in crossed[:64]] == crossed[:64]
        AskedGroups.asked = 0
        assert {ledger.canonical_group("m", name) for name in crossed[64:]} == {OTHER_GROUP}
        assert AskedGroups.asked == len(crossed) - 64
        assert [ledger.canonical_group("m", name) for name in crossed[:64]] == crossed[:64]
        assert ledger.group_limit_reached("m") and len(ledger.groups("m")) == 128
