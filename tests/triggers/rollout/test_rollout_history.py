"""The history's chain and what follows from a history, without any store."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from tests.artifacts import image_artifact
from triggers.errors import NotFound, StoreError
from triggers.rollout.rollout_history import (
    Action,
    HistoryEntry,
    Rollout,
    VersionInfo,
    check_chain,
    check_outcome,
    next_entry,
    plan_before,
)
from triggers.rollout.rollout_plan import RolloutPlan

DIGEST = "sha256:" + "5" * 64


def chain(*steps: tuple[Action, int | None]) -> list[HistoryEntry]:
    """A sound history, oldest first."""
    entries: list[HistoryEntry] = []
    champion, revision = None, 0
    for action, version in steps:
        changes = action in ("activate", "rollback")
        revision += changes
        detail = {"digest": DIGEST} if action == "publish" else {}
        entry = HistoryEntry("faces", "now", "me", action, champion if changes else None, version, revision, "", detail)
        entries.append(next_entry(entries[-1] if entries else None, entry))
        champion = version if changes else champion
    return entries


LONG = chain(("publish", 1), ("activate", 1), ("refuse", None), ("activate", None), ("rollback", 1))
VERSION = VersionInfo("faces", 1, DIGEST, DIGEST, 1, "now", "me", image_artifact().manifest)
OUTCOME = Rollout("faces", 3, RolloutPlan(1))


def test_a_sound_history_passes() -> None:
    check_chain("faces", LONG)
    check_outcome(LONG, OUTCOME, [VERSION])
    check_chain("faces", [])
    check_outcome([], Rollout("faces"), [])


def test_entries_survive_json() -> None:
    assert [HistoryEntry.from_dict(json.loads(json.dumps(entry.to_dict()))) for entry in LONG] == LONG


CHANGES: list[dict[str, Any]] = [
    {"actor": "you"},
    {"at": "later"},
    {"action": "activate"},
    {"from_version": 9},
    {"to_version": 9},
    {"revision": 9},
    {"reason": "none at all"},
    {"detail": {"digest": "other"}},
    {"prev_hash": DIGEST},
    {"hash": DIGEST},
    {"seq": 9},
    {"model": "posts"},
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: next(iter(change)))
@pytest.mark.parametrize("position", [0, 2, 4])
def test_a_changed_entry_breaks_the_chain(position: int, change: dict[str, Any]) -> None:
    altered = [*LONG]
    altered[position] = dataclasses.replace(altered[position], **change)
    with pytest.raises(StoreError, match=f"entry {position + 1}"):
        check_chain("faces", altered)


def test_an_entry_sealed_again_after_a_change_breaks_the_next_link() -> None:
    forged = next_entry(LONG[0], dataclasses.replace(LONG[1], reason="forged"))
    with pytest.raises(StoreError, match="entry 3"):
        check_chain("faces", [LONG[0], forged, *LONG[2:]])


def test_a_dropped_or_swapped_entry_breaks_the_chain() -> None:
    with pytest.raises(StoreError, match="entry 2 is missing"):
        check_chain("faces", [LONG[0], *LONG[2:]])
    with pytest.raises(StoreError, match="entry 1 is missing"):
        check_chain("faces", LONG[1:])
    with pytest.raises(StoreError, match="entry 2 is missing"):
        check_chain("faces", [LONG[0], LONG[2], LONG[1]])


def test_a_cut_off_end_contradicts_the_rollout_or_the_versions() -> None:
    with pytest.raises(StoreError, match=r"revision 3 with v1, its history says revision 2 with none"):
        check_outcome(LONG[:-1], OUTCOME, [VERSION])
    with pytest.raises(StoreError, match="not those"):
        check_outcome(LONG, OUTCOME, [])
    with pytest.raises(StoreError, match="not those"):
        check_outcome(LONG, OUTCOME, [dataclasses.replace(VERSION, digest="sha256:" + "6" * 64)])


def test_rolling_back_goes_further_back_each_time() -> None:
    entries = chain(("activate", 1), ("activate", 2), ("activate", 2), ("publish", 3), ("activate", 3))
    expected = [2, 1, None]
    for wanted in expected:
        assert plan_before("faces", entries).champion == wanted
        entry = HistoryEntry("faces", "now", "me", "rollback", None, wanted, 0, "", {})
        entries.append(next_entry(entries[-1], entry))
    with pytest.raises(NotFound, match="nothing to roll back to"):
        plan_before("faces", entries)


def test_a_new_choice_after_a_rollback_starts_from_there() -> None:
    entries = chain(("activate", 1), ("activate", 2), ("rollback", 1), ("activate", 3))
    assert plan_before("faces", entries).champion == 1
