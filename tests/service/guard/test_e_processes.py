"""E-processes over blocks: in several goes or one, and with groups that join, the stakes are the same."""

from __future__ import annotations

import numpy as np
import pytest

from service.guard.e_processes import AccuracyLoss, EProcess, GapAboveLimit, GapIncrease
from service.guard.e_values import FloatArray

MOVED = np.array([0, 2, 3])
"""Where three groups are once a fourth has joined them as the second."""


def blocks(count: int, layout: tuple[int, int], groups: int, seed: int) -> FloatArray:
    """(B, V, 2, G, Y) of some fifty rows per cell; the first group of the new version is hit more often."""
    versions, outcomes = layout
    random = np.random.default_rng(seed)
    rows = random.poisson(50 / outcomes, (count, versions, 2, groups, outcomes)).astype(float)
    rows[:, 0, :, 0] += [0, 50] if outcomes == 2 else [25, 0, 25, 0]
    return rows


@pytest.mark.parametrize(("process", "layout"), [(GapAboveLimit, (1, 2)), (GapIncrease, (2, 2)), (GapIncrease, (1, 4))])
def test_stakes_stay_where_their_groups_are(process: type[EProcess], layout: tuple[int, int]) -> None:
    """As if the group that joins had been there without rows."""
    early, late = blocks(12, layout, 3, seed=1), blocks(12, layout, 4, seed=2)
    known = np.zeros((*early.shape[:3], 4, early.shape[4]))
    known[:, :, :, MOVED] = early
    one, other = process(early.shape[1:], 0.02), process(known.shape[1:], 0.02)
    assert one.add(early)[-1] > 5
    other.add(known)
    one.regroup(MOVED, 4)
    assert one.sums.tolist() == other.sums.tolist()
    assert vars(one)["_stakes"] == pytest.approx(vars(other)["_stakes"]) and vars(one)["_stakes"].any()
    assert one.add(late) == pytest.approx(other.add(late))


@pytest.mark.parametrize(("process", "layout"), [(GapAboveLimit, (1, 2)), (GapIncrease, (2, 2)), (GapIncrease, (1, 4))])
def test_one_go_or_several(process: type[EProcess], layout: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    given = blocks(30, layout, 4, seed=3)
    whole = process(given.shape[1:], 0.02).add(given)
    assert whole[0] == pytest.approx(0) and whole[-1] > 5
    parts = process(given.shape[1:], 0.02)
    assert np.concatenate([parts.add(each) for each in np.split(given, [1, 2, 17])]) == pytest.approx(whole)
    for bound in ("PAIRS_AT_ONCE", "BLOCKS_TIMES_PAIRS"):  # so many groups that not even one block is done at once
        monkeypatch.setattr(f"service.guard.e_processes.{bound}", 3)
    assert process(given.shape[1:], 0.02).add(given) == pytest.approx(whole)
    assert len(process(given.shape[1:], 0.02).add(given[:0])) == 0


def test_a_group_that_only_the_old_version_predicts_counts_in_its_gap() -> None:
    """The old gap may be that of any pair, so each needs evidence; the new version's bet is on groups that it has."""
    given = blocks(30, (2, 2), 3, seed=4)
    given[:, 0, :, 2] = 0
    assert GapIncrease(given.shape[1:], 0.02).add(given)[-1] > 5
    given[:, 1, :, 2] = 0
    assert GapIncrease(given.shape[1:], 0.02).add(given)[-1] <= 0, "of a pair without rows nothing is known"


@pytest.mark.parametrize("layout", [(2, 2), (1, 4)])
def test_accuracy_that_is_lost(layout: tuple[int, int]) -> None:
    shape = (layout[0], 1, 1, layout[1])
    rows = np.array([[30, 70], [5, 95]] if layout == (2, 2) else [[70, 25, 0, 5]], dtype=float)
    lost = np.tile(rows.reshape(1, *shape), (6, 1, 1, 1, 1))
    assert AccuracyLoss(shape, 0.02).add(lost)[-1] > 5
    won = lost[:, ::-1] if layout == (2, 2) else lost[..., [0, 2, 1, 3]]
    assert AccuracyLoss(shape, 0.02).add(won).tolist() == [0] * 6
