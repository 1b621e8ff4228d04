"""Shares turned into decisions: the exact hash, stickiness, how near a share is kept, and what is sampled."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import pytest

from service.engine.version_routing import (
    ExtraPasses,
    challenger_position,
    route_version,
    routing_key,
    sample_extra_passes,
)
from triggers.rollout.rollout_plan import Challenger, RolloutPlan, Shadow

KEYS = [routing_key(f"user-{n}") for n in range(20_000)]
TRIAL = RolloutPlan(1, Challenger(2, 0.05))


def challenged(plan: RolloutPlan, model: str = "faces") -> set[int]:
    """The keys that the challenger answers."""
    return {key for key in KEYS if route_version(plan, model, "rollout", key)[1] == "challenger"}


def test_the_hash_is_the_same_everywhere_for_ever() -> None:
    """Written down, so that an upgrade cannot move the people of a running trial."""
    assert routing_key("user-17") == 9772522154948997651
    assert challenger_position(routing_key("user-17"), "faces", 2) == pytest.approx(0.7417658748692227, abs=1e-15)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.05, 0.5, 1.0])
def test_a_share_is_kept(share: float) -> None:
    found = len(challenged(RolloutPlan(1, Challenger(2, share))))
    assert abs(found - share * len(KEYS)) <= 4 * math.sqrt(len(KEYS) * share * (1 - share))


def test_a_growing_share_only_adds_keys() -> None:
    shares = (0.01, 0.05, 0.2, 0.7, 1.0)
    found = [challenged(RolloutPlan(1, Challenger(2, share))) for share in shares]
    assert all(few < more for few, more in pairwise(found))


def test_another_champion_moves_nobody_and_another_challenger_draws_anew() -> None:
    half = challenged(RolloutPlan(1, Challenger(2, 0.5)))
    assert challenged(RolloutPlan(4, Challenger(2, 0.5))) == half
    for others in (
        challenged(RolloutPlan(1, Challenger(3, 0.5))),
        challenged(RolloutPlan(1, Challenger(2, 0.5)), "posts"),
    ):
        assert abs(len(half & others) - len(KEYS) / 4) < 4 * math.sqrt(len(KEYS) * 3 / 16)


def test_keys_next_to_each_other_are_spread_evenly() -> None:
    bins = [0] * 20
    for key in range(20_000):
        bins[int(20 * challenger_position(key, "faces", 2))] += 1
    assert sum((n - 1000) ** 2 / 1000 for n in bins) < 45.3  # chi-square, 19 degrees of freedom, p = 0.0006


def test_what_a_request_names_it_gets() -> None:
    key = next(iter(challenged(TRIAL)))
    assert route_version(TRIAL, "faces", "rollout", key) == (2, "challenger")
    assert route_version(TRIAL, "faces", "champion", key) == (1, "pinned")
    assert route_version(TRIAL, "faces", "challenger", 0) == (2, "pinned")
    assert route_version(TRIAL, "faces", None, key) == (None, "pinned")
    assert route_version(TRIAL, "faces", 7, key) == (7, "pinned")
    assert route_version(RolloutPlan(1), "faces", "challenger", key) == (1, "pinned")
    assert route_version(RolloutPlan(None, Challenger(2, 0.0)), "faces", "rollout", key) == (None, "champion")


def test_twins_and_shadows_are_a_sample() -> None:
    draw = random.Random(7).random
    plan = RolloutPlan(1, shadow=Shadow((2, 3), 0.25), twin_share=0.1)
    found = [sample_extra_passes(plan, draw) for _ in range(10_000)]
    assert {each.shadows for each in found} == {(), (2, 3)}
    assert abs(sum(bool(each.shadows) for each in found) - 2500) < 4 * math.sqrt(10_000 * 0.25 * 0.75)
    assert abs(sum(each.twin for each in found) - 1000) < 4 * math.sqrt(10_000 * 0.1 * 0.9)
    assert (
        sample_extra_passes(RolloutPlan(1), draw)
        == sample_extra_passes(RolloutPlan(None, twin_share=1.0), draw)
        == ExtraPasses()
    )
    assert sample_extra_passes(RolloutPlan(1, shadow=Shadow((2,)), twin_share=1.0), draw) == ExtraPasses(True, (2,))
