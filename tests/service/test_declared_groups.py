"""Which group names count: what manifests, bundle and settings declare, its combinations, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.declared_groups import Declarations, DeclaredGroups
from service.ledger import OTHER, Ledger
from tests.artifacts import artifact_for, image_trigger, manifest_for
from tests.service.counted import NEVER
from triggers.classifier import FrozenClassifier
from triggers.file_store import FileStore
from triggers.identities import UNDECLARED
from triggers.manifest import DataCount

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
            ledger.admit("m", f"junk {n}")
        assert ledger.crowded("m")
        ledger.declare("m", OVERLAPPING)
        assert not ledger.crowded("m"), "places that were taken before are free again"
        assert [ledger.admit("m", f"junk {n}") for n in range(200)] == [UNDECLARED] * 200
        assert [ledger.admit("m", name) for name in ("muslim + black", "female", None, " ", "other")] == [
            "black + muslim", "female", "unknown", "unknown", UNDECLARED,
        ]  # fmt: skip
        taken = ["black + female", "female + muslim", "black + female + muslim"]
        assert [ledger.admit("m", name) for name in taken] == [*taken[:2], OTHER]
        assert ledger.crowded("m") and ledger.admit("m", "female + black") == taken[0]
        assert ledger.groups("m") == OVERLAPPING.names | set(taken[:2])
        assert ledger.admit("another", "anything") == "anything"
    with Ledger(tmp_path / "ledger.sqlite", flush_interval=NEVER, max_groups=2) as ledger:
        ledger.declare("m", OVERLAPPING)
        assert ledger.admit("m", taken[2]) == OTHER, "who has a place keeps it over a restart"
        ledger.declare("m", None)
        assert ledger.admit("m", "junk 0") == "junk 0"


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
