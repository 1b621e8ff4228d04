"""The recommended system beside every rival, on records whose answers are known."""

from __future__ import annotations

from benchmarks.results.baseline_check import check_baselines, check_lines, passed
from benchmarks.results.problem import problems
from benchmarks.results.run_record import NOTHING
from tests.benchmarks.results.made import record


def answers(rival: tuple[int, ...], advised: str = "overlay", name: str = "adv_post") -> str:
    """The answer for a rival with these gaps, one per seed, beside a trigger with .10."""
    own = [record({"overlay": 10, name: gap}, advised, seed=seed) for seed, gap in enumerate(rival)]
    (found,) = check_baselines(problems(own))
    assert found.rival == name
    return found.answer


def test_below_and_equal_are_yes_and_clearly_above_is_no() -> None:
    assert answers((15, 16, 17)) == "yes"
    assert answers((10, 10, 10)) == "yes"
    assert answers((2, 3, 4)) == "no"


def test_a_difference_within_its_interval_is_yes() -> None:
    assert answers((2, 3, 22)) == "yes"  # above on average by a point, with an interval that reaches far below 0


def test_one_seed_has_no_interval() -> None:
    assert answers((9,)) == "no" and answers((10,)) == "yes"


def test_a_rival_that_the_report_recommends_is_said() -> None:
    assert answers((2, 3, 4), advised="adv_post") == "recommended"


def test_a_rival_that_the_report_names_beside_its_advice_is_said() -> None:
    named = ("adv_post",)
    for times, answer in ((2, "named"), (1, "no")):
        own = [
            record({"overlay": 10, "adv_post": 3}, seed=seed, named=named if seed < times else ()) for seed in range(3)
        ]
        (found,) = check_baselines(problems(own))
        assert found.answer == answer


def test_a_system_that_is_told_the_groups_is_a_measure() -> None:
    assert answers((0, 0, 0), name="hardt") == "measure"


def test_the_bare_model_counts_where_nothing_is_recommended() -> None:
    own = [record({"overlay": 10, "frappe": 30 + seed}, NOTHING, seed=seed) for seed in range(3)]
    (found,) = check_baselines(problems(own))
    assert found.answer == "no" and abs(found.difference.value - 0.09) < 1e-9


def test_a_rival_that_keeps_no_budget_counts_as_the_bare_model() -> None:
    own = [record({"overlay": 10, "adv_post": 1}, seed=seed, dropped=("adv_post",)) for seed in range(3)]
    (found,) = check_baselines(problems(own))
    assert found.answer == "yes" and abs(found.difference.value + 0.3) < 1e-9


def test_the_table_and_the_sum_of_it() -> None:
    own = [record({"overlay": 10, "adv_post": 15, "frappe": 2}, seed=seed) for seed in range(2)]
    checks = check_baselines(problems(own))
    lines = list(check_lines(checks))
    assert lines[2].startswith("| CelebA: Attractive given Male, demographic parity | overlay 2 | AdvPost | .150")
    assert lines[2].endswith("| yes |") and lines[3].endswith("| no |")
    assert not passed(checks) and passed(checks[:1])
