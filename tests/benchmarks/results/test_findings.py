"""The first sentences of the results: which words which records lead to."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from benchmarks.results.baseline_check import check_baselines
from benchmarks.results.findings import HEADS, findings, held_share
from benchmarks.results.problem import Problem, name_of, problems
from benchmarks.results.run_record import NOTHING, RunRecord
from benchmarks.results.tuning_curves import tuning_curves
from tests.benchmarks.results.made import record


def words(records: Sequence[RunRecord]) -> str:
    found = problems(records)
    return "\n".join(findings(found, check_baselines(found), tuning_curves(records)))


def seeds(advised: Sequence[str], task: str = "attractive", positives: int = 50) -> list[RunRecord]:
    """A run per seed with what its report recommends; gaps differ a little between seeds."""
    return [
        record(
            {"overlay": 10 + seed, "threshold": 12 + seed, "adv_post": 20 + seed},
            name,
            task=task,
            seed=seed,
            positives=positives,
            status="certified" if name == "overlay" else "not recommended",
        )
        for seed, name in enumerate(advised)
    ]


def capital(system: str) -> str:
    return name_of(system)[:1].upper() + name_of(system)[1:]


def test_a_trigger_that_most_seeds_recommend_helps_with_its_gaps_and_its_price() -> None:
    text = words(seeds(["overlay", "overlay", "overlay", NOTHING, "threshold"]))
    assert "A trigger is what most runs recommend on 1 of 1 problem where every label holds at least 15 %" in text
    assert HEADS["trigger"] in text and not any(HEADS[name] in text for name in ("other", NOTHING, "mixed"))
    assert "(recommended: overlay 3, nothing 1, threshold shift 1)" in text
    # gaps as advised: .10, .11, .12, .40 (bare), .16: mean .178 of .400
    assert "goes from .400 to .178 (" in text and "a change of \N{MINUS SIGN}.222 (" in text
    # recall of yes: .60 bare; .90, .89, .88, .60, .84: half of .222 of balanced accuracy
    assert "for +11.1 points of balanced accuracy." in text


def test_a_cheaper_system_that_most_seeds_recommend_is_what_to_use() -> None:
    text = words(seeds(["threshold", "threshold", "overlay"]))
    assert HEADS["other"] in text and HEADS["trigger"] not in text
    assert "0 of 1 problem" in text and "Where a trigger helps" not in text


def test_nothing_recommended_leaves_the_gap_as_it_is() -> None:
    text = words(seeds([NOTHING, NOTHING, NOTHING]))
    assert HEADS[NOTHING] in text and "(recommended: nothing 3): the demographic parity difference stays .400." in text


def test_no_majority_is_said_to_depend_on_the_draw() -> None:
    assert HEADS["mixed"] in words(seeds(["overlay", NOTHING, "threshold"]))


def test_a_rare_label_is_named_with_its_share() -> None:
    records = [
        record({"soft": 4}, NOTHING, task="rare", kind="soft", seed=seed, positives=10, bare=4) for seed in (0, 1)
    ]
    found = problems([*records, *seeds(["overlay", "overlay"])])
    text = "\n".join(findings(found))
    assert "`yes` is 10 % of the rows." in text
    assert (
        "1 of 1 problem where every label holds at least 15 % of the rows and on 0 of 1 problem where a label" in text
    )


def test_a_rival_is_named_only_where_it_is_clearly_ahead() -> None:
    ahead = [
        record({"overlay": 10 + seed % 2, "frappe": 5, "hardt": 2, "adv_post": 10}, seed=seed) for seed in range(4)
    ]
    text = words(ahead)
    assert f"- {capital('frappe')} (asks for: features) leaves clearly less of the gap than the trigger on 1: " in text
    assert f"- {capital('hardt')} (a measure: it is told every group) leaves" in text
    assert "AdvPost" not in text  # .5 points on average, within the interval
    beaten = f"Attractive given Male, demographic parity ({name_of('frappe')})."
    assert f"on 0 of 1 problems; clearly less is left on CelebA: {beaten}" in text


def test_what_the_report_recommends_is_beaten_by_none() -> None:
    text = words(seeds(["overlay", "overlay", "overlay"]))
    assert "than any rival, within the interval, on 1 of 1 problems." in text


def test_a_change_that_the_seeds_do_not_tell_from_none_is_said_to_be_so() -> None:
    sure = [record({"overlay": gap}, seed=seed) for seed, gap in enumerate((10, 11, 12))]
    unsure = [record({"overlay": gap}, seed=seed) for seed, gap in enumerate((2, 39, 40))]
    assert "These seeds do not tell" not in words(sure) and "These seeds do not tell" in words(unsure)


def test_tuning_sizes_are_in_the_first_words_too() -> None:
    at_sizes = [
        record({"overlay": 40 - size // 50, "adv_post": 30}, task="attractive-sizes", tuning=size)
        for size in (250, 500, 1000)
    ]
    text = words([*seeds(["overlay", "overlay"]), *at_sizes])
    assert "a trigger leaves .350 with 250 and .200 with 1,000 of a gap of .400; half of it is gone with" in text
    assert "with 1,000 rows (AdvPost: none of 1)." in text


def test_certified_picks_that_lose_more_than_the_budget_on_test_do_not_hold() -> None:
    held = [record({"overlay": 10}, seed=seed) for seed in range(3)]
    broken = record({"overlay": (40, 23)}, seed=3)  # three more of 50 negatives wrong: three points of a recall
    promising = record({"overlay": (40, 23)}, seed=4, status="promising")
    assert held_share([*held, broken, promising]) == "3 of 4 (30 % to 95 %)"
    assert held_share([promising]) is None


def test_runs_of_other_kinds_count_as_systems_but_do_not_advise() -> None:
    plain = seeds(["overlay", "overlay"])
    other = [record({"pixels": 1, "threshold": 39}, NOTHING, kind="pixels", seed=seed) for seed in (0, 1)]
    (one,) = problems([*other, *plain])
    assert isinstance(one, Problem) and one.triggers == ["overlay", "pixels"]
    assert one.advice == {"overlay": 2} and one.mean("pixels", lambda own: own.gap).value == pytest.approx(0.01)
    assert one.mean("threshold", lambda own: own.gap).value == pytest.approx(0.125)  # that of the plain kind's runs
    assert problems(other) == []
