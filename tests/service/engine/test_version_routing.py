"""Shares turned into decisions: the exact hash, stickiness, how near a share is kept, and what is sampled."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import pytest

from service.engine.version_routing import Extras, decide, key_of, position, sample
from triggers.rollout.rollout_plan import Challenger, Plan, Shadow

KEYS = [key_of(f"user-{n}") for n in range(20_000)]
TRIAL = Plan(1, Challenger(2, 0.05))


def challenged(plan: Plan, model: str = "faces") -> set[int]:
    """The keys that the challenger answers."""
    return {key for key in KEYS if decide(plan, model, "rollout", key)[1] == "challenger"}


def test_the_hash_is_the_same_everywhere_for_ever() -> None:
    """Written down, so that an upgrade cannot move the people of a running trial."""
    assert key_of("user-17") == 9772522154948997651
    assert position(key_of("user-17"), "faces", 2) == pytest.approx(0.7417658748692227, abs=1e-15)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.05, 0.5, 1.0])
def test_a_share_is_kept(share: float) -> None:
    found = len(challenged(Plan(1, Challenger(2, share))))
    assert abs(found - share * len(KEYS)) <= 4 * math.sqrt(len(KEYS) * share * (1 - share))


def test_a_growing_share_only_adds_keys() -> None:
    shares = (0.01, 0.05, 0.2, 0.7, 1.0)
    found = [challenged(Plan(1, Challenger(2, share))) for share in shares]
    assert all(few < more for few, more in pairwise(found))


def test_another_champion_moves_nobody_and_another_challenger_draws_anew() -> None:
    half = challenged(Plan(1, Challenger(2, 0.5)))
    assert challenged(Plan(4, Challenger(2, 0.5))) == half
    for others in (challenged(Plan(1, Challenger(3, 0.5))), challenged(Plan(1, Challenger(2, 0.5)), "posts")):
        assert abs(len(half & others) - len(KEYS) / 4) < 4 * math.sqrt(len(KEYS) * 3 / 16)


def test_keys_next_to_each_other_are_spread_evenly() -> None:
    bins = [0] * 20
    for key in range(20_000):
        bins[int(20 * position(key, "faces", 2))] += 1
    assert sum((n - 1000) ** 2 / 1000 for n in bins) < 45.3  # chi-square, 19 degrees of freedom, p = 0.0006


def test_what_a_request_names_it_gets() -> None:
    key = next(iter(challenged(TRIAL)))
    assert decide(TRIAL, "faces", "rollout", key) == (2, "challenger")
    assert decide(TRIAL, "faces", "champion", key) == (1, "pinned")
    assert decide(TRIAL, "faces", "challenger", 0) == (2, "pinned")
    assert decide(TRIAL, "faces", None, key) == (None, "pinned")
    assert decide(TRIAL, "faces", 7, key) == (7, "pinned")
    assert decide(Plan(1), "faces", "challenger", key) == (1, "pinned")
    assert decide(Plan(None, Challenger(2, 0.0)), "faces", "rollout", key) == (None, "champion")


def test_twins_and_shadows_are_a_sample() -> None:
    draw = random.Random(7).random
    plan = Plan(1, shadow=Shadow((2, 3), 0.25), twin_share=0.1)
    found = [sample(plan, draw) for _ in range(10_000)]
    assert {each.shadows for each in found} == {(), (2, 3)}
    assert abs(sum(bool(each.shadows) for each in found) - 2500) < 4 * math.sqrt(10_000 * 0.25 * 0.75)
    assert abs(sum(each.twin for each in found) - 1000) < 4 * math.sqrt(10_000 * 0.1 * 0.9)
    assert sample(Plan(1), draw) == sample(Plan(None, twin_share=1.0), draw) == Extras()
    assert sample(Plan(1, shadow=Shadow((2,)), twin_share=1.0), draw) == Extras(True, (2,))
