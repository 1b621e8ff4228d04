"""The rollout document: what it may say, what it is short for, and how it survives JSON."""

from __future__ import annotations

from typing import Any

import pytest

from triggers.errors import InputError
from triggers.plan import MAX_GUARD_BYTES, Challenger, Plan, Shadow, as_plan, plan_text

FULL = Plan(3, Challenger(4, 0.05), Shadow((5, 4), 0.5), 0.01, {"alpha": 0.05})


def test_a_plan_survives_json() -> None:
    for plan in (Plan(), Plan(2), Plan(2, Challenger(None, 0.0)), FULL):
        assert Plan.from_json(plan.to_json()) == plan


def test_what_is_left_out_is_off() -> None:
    assert Plan.from_dict({"champion": 3}) == Plan(3) == as_plan(3)
    assert as_plan(None) == Plan() and as_plan(FULL) is FULL


def test_versions_are_all_that_must_be_loaded_once_each() -> None:
    assert FULL.versions == (3, 4, 5)
    assert Plan().versions == ()


def test_only_a_champion_alone_is_simple() -> None:
    assert Plan().simple and Plan(7).simple and not FULL.simple
    assert not Plan(7, twin_share=0.1).simple


BAD: dict[str, dict[str, Any]] = {
    "between 0 and 1": {"challenger": Challenger(2, 1.5)},
    "twin_share is -0.1": {"twin_share": -0.1},
    "shadow.share is nan": {"shadow": Shadow((1,), float("nan"))},
    "the same version": {"champion": 2, "challenger": Challenger(2, 0.1)},
    "each once": {"shadow": Shadow((1, 1))},
    "at most 4": {"shadow": Shadow((1, 2, 3, 4, 5))},
    "not a version number": {"champion": 0},
    "champion is True": {"champion": True},
    "more than": {"guard": {"note": "x" * MAX_GUARD_BYTES}},
    "no JSON": {"guard": {"alpha": float("nan")}},
}


@pytest.mark.parametrize("reason", BAD)
def test_a_plan_that_contradicts_itself_is_refused(reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        Plan(**BAD[reason])


def test_a_guard_may_take_just_so_many_bytes() -> None:
    envelope = len('{"note": ""}')
    assert Plan(guard={"note": "x" * (MAX_GUARD_BYTES - envelope)}).guard
    with pytest.raises(InputError, match=f"takes {MAX_GUARD_BYTES + 1} bytes"):
        Plan(guard={"note": "x" * (MAX_GUARD_BYTES - envelope + 1)})


def test_unknown_fields_are_refused() -> None:
    with pytest.raises(InputError, match="chalenger"):
        Plan.from_dict({"champion": 1, "chalenger": None})


def test_a_plan_in_words() -> None:
    assert plan_text(FULL) == "v4 on 5%, shadows v5 v4 on 50%, twins on 1%, guarded"
    assert plan_text(Plan(1, Challenger(None, 0.125))) == "none on 12.5%"
    assert plan_text(Plan(1)) == ""
