"""Parts that share no content, for any data, sizes and order of rows."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.config.data_config import SplitConfig
from trainer.data.split import PARTS, limit_rows, split_rows
from triggers.errors import DataError

POOLS = st.sampled_from(["", "train", "val", "test", "tuning", "base"])


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[str]]:
    """Pools and contents of some rows, with copies; either no row has a pool or all have."""
    contents = draw(st.lists(st.sampled_from("abcdefghijklmnop"), min_size=1, max_size=60))
    if draw(st.booleans()):
        return [""] * len(contents), contents
    named = POOLS.filter(bool)
    return draw(st.lists(named, min_size=len(contents), max_size=len(contents))), contents


@given(tables(), st.integers(0, 5))
def test_no_content_is_in_two_parts(table: tuple[list[str], list[str]], seed: int) -> None:
    pools, contents = table
    plan = split_rows(pools, contents, SplitConfig(seed=seed))
    seen: dict[str, str] = {}
    for part in PARTS:
        for row in plan.rows[part]:
            assert seen.setdefault(contents[row], part) == part
    rows = [row for part in PARTS for row in plan.rows[part]]
    assert len(rows) == len(set(rows))


@given(tables())
def test_rows_of_an_evaluation_pool_never_leave_it(table: tuple[list[str], list[str]]) -> None:
    pools, contents = table
    plan = split_rows(pools, contents, SplitConfig())
    assert all(part == pools[row] for part in PARTS for row in plan.rows[part] if pools[row] not in ("", "train"))


@given(tables(), st.integers(0, 5), st.floats(0.01, 1.0), st.floats(0.01, 1.0))
def test_a_smaller_tuning_part_lies_in_a_larger_one_and_changes_no_other(
    table: tuple[list[str], list[str]], seed: int, one: float, other: float
) -> None:
    pools, contents = table
    plans = {1.0: split_rows(pools, contents, SplitConfig(seed=seed)).rows}
    whole = plans[1.0]["tuning"]
    for ratio in sorted((one, other), reverse=True):
        if whole and int(ratio * len(whole)) == 0:
            with pytest.raises(DataError, match=r"split\.tuning_ratio = .* leaves none"):
                split_rows(pools, contents, SplitConfig(seed=seed, tuning_ratio=ratio))
            continue
        plans[ratio] = split_rows(pools, contents, SplitConfig(seed=seed, tuning_ratio=ratio)).rows
        assert len(plans[ratio]["tuning"]) == int(ratio * len(whole))
        assert {**plans[ratio], "tuning": ()} == {**plans[1.0], "tuning": ()}
    ordered = [set(plans[ratio]["tuning"]) for ratio in sorted(plans)]
    assert all(small <= large for small, large in pairwise(ordered))


def test_a_share_of_the_tuning_part_is_drawn_at_random_and_its_rest_is_in_no_part() -> None:
    contents = contents_of(1000)
    plan = split_rows([""] * 1000, contents, SplitConfig(tuning_ratio=0.1))
    whole = split_rows([""] * 1000, contents, SplitConfig()).rows["tuning"]
    assert len(plan.rows["tuning"]) == 20
    assert plan.rows["tuning"] != whole[:20], "the first rows of the data are no random share"
    assert sum(map(len, plan.rows.values())) == 820


def contents_of(count: int) -> list[str]:
    return [f"content {number}" for number in range(count)]


def test_one_pool_is_shared_by_weight() -> None:
    plan = split_rows([""] * 1000, contents_of(1000), SplitConfig())
    assert {part: len(rows) for part, rows in plan.rows.items()} == {
        "base": 500,
        "tuning": 200,
        "val": 150,
        "test": 150,
    }


def test_a_partition_keeps_its_own_pools() -> None:
    pools = ["train"] * 700 + ["val"] * 150 + ["test"] * 150
    plan = split_rows(pools, contents_of(1000), SplitConfig(base=500, tuning=0.25, test=0.5))
    assert {part: len(rows) for part, rows in plan.rows.items()} == {"base": 500, "tuning": 175, "val": 150, "test": 75}
    assert all(850 <= row for row in plan.rows["test"])


def test_the_parts_depend_on_seed_and_content_not_on_order() -> None:
    contents = contents_of(200)
    shuffled = contents.copy()
    random.Random(1).shuffle(shuffled)
    split = SplitConfig(seed=3)
    parts = {
        part: {contents[row] for row in rows} for part, rows in split_rows([""] * 200, contents, split).rows.items()
    }
    again = {
        part: {shuffled[row] for row in rows} for part, rows in split_rows([""] * 200, shuffled, split).rows.items()
    }
    other = split_rows([""] * 200, contents, SplitConfig(seed=4)).rows
    assert parts == again
    assert {contents[row] for row in other["test"]} != parts["test"]


def test_a_larger_base_leaves_the_test_part_as_it_was() -> None:
    contents = contents_of(300)
    small = split_rows([""] * 300, contents, SplitConfig(base=50, tuning=50, val=40, test=40))
    large = split_rows([""] * 300, contents, SplitConfig(base=150, tuning=50, val=40, test=40))
    assert all(small.rows[part] == large.rows[part] for part in ("test", "val", "tuning"))


def test_copies_of_a_test_row_are_left_out_of_training() -> None:
    plan = split_rows(["train", "train", "train", "test"], ["a", "b", "c", "a"], SplitConfig(base=1, tuning=1, val=0))
    assert plan.rows["test"] == (3,)
    assert set(plan.rows["base"] + plan.rows["tuning"]) == {1, 2}
    assert plan.left_out == 1


def test_asking_for_more_rows_than_there_are_is_refused() -> None:
    with pytest.raises(DataError, match=r"split.test = 6, split.base = 6: together 12 rows, but their pool has 10"):
        split_rows([""] * 10, contents_of(10), SplitConfig(base=6, test=6))


def test_a_limit_draws_the_same_rows_every_time() -> None:
    ids = contents_of(100)
    rows = limit_rows(ids, 10, seed=0)
    assert rows == limit_rows(ids, 10, seed=0) == sorted(rows)
    assert len(rows) == 10
    assert limit_rows(ids, 10, seed=1) != rows
    assert limit_rows(ids, None, seed=0) == limit_rows(ids, 100, seed=0) == list(range(100))
