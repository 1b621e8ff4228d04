"""Cautions before a training: what is called out, and what is not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import pytest

from tests.trainer.runs import run_config
from trainer.config import ObjectiveConfig, RunConfig, SelectConfig
from trainer.evaluation.power import VisibleGap
from trainer.overview.bare_sample import BareSample
from trainer.overview.cautions import data_cautions, input_cautions, model_cautions
from trainer.overview.part_rows import PartRows

Sizes = Mapping[str, tuple[int, ...]]
LABELS = ("civil", "toxic")
EVEN: Sizes = {"a": (200, 200), "b": (200, 200)}
ODDS = run_config(ObjectiveConfig(criterion="equalized_odds"))
PARITY = run_config(ObjectiveConfig())


def part_rows(parts: Mapping[str, Sizes], labels: tuple[str, ...] = LABELS) -> PartRows:
    """Rows by (group, label) of the parts; those that are not given are even."""
    given = {part: parts.get(part, EVEN) for part in ("base", "tuning", "val", "test")}
    counts = {
        part: {(g, y): n for g, ns in rows.items() for y, n in enumerate(ns) if n} for part, rows in given.items()
    }
    return PartRows(counts, labels, 1, overlapping=False)


def of_data(config: RunConfig = PARITY, *, fitted: bool = True, **parts: Sizes) -> str:
    return "\n".join(data_cautions(config, part_rows(parts), fitted=fitted))


def everywhere(rows: Sizes, config: RunConfig = PARITY) -> str:
    """Cautions on data whose parts are all alike."""
    return of_data(config, base=rows, tuning=rows, val=rows, test=rows)


def sample(counts: Mapping[tuple[str, int | None, int], int]) -> BareSample:
    return BareSample(counts, sum(counts.values()), Counter(), 0, 0, ())


def of_model(answers: Mapping[str, tuple[tuple[int, ...], ...]], visible: float = 0.01) -> str:
    """Cautions on a model with these numbers of answers, by group and label."""
    counts: dict[tuple[str, int | None, int], int] = {}
    counts |= {
        (g, y, a): n for g, rows in answers.items() for y, row in enumerate(rows) for a, n in enumerate(row) if n
    }
    size = len(next(iter(answers.values())))
    parts = part_rows({}, LABELS if size == 2 else ("x", "y", "z"))
    gaps = [VisibleGap(visible, ("a", "b"))]
    return "\n".join(model_cautions(parts, sample(counts), parts.report(counts), "demographic_parity", gaps))


def test_even_data_and_a_good_model_have_no_caution() -> None:
    assert of_data(ODDS) == ""
    assert of_model({"a": ((90, 10), (20, 80)), "b": ((70, 30), (5, 95))}) == ""


def test_empty_and_small_parts() -> None:
    found = of_data(test={}, val={"a": (40, 40), "b": (40, 40)})
    assert "The test part is empty, and the run will stop there: give split.test some rows." in found
    assert "The val part has 160 rows" in found
    assert "base" not in of_data(base={}) and "The base part is empty" in of_data(base={}, fitted=False)


def test_few_rows_of_a_label_in_a_group() -> None:
    found = of_data(test={"a": (110, 200), "b": (110, 12)})
    assert found == "Fewer than 30 rows in test, whose rates say little: 'b' with 'toxic' (12)."


@pytest.mark.parametrize(("config", "told"), [(ODDS, True), (PARITY, False)])
def test_groups_without_rows_are_left_out_of_the_criterion(config: RunConfig, told: bool) -> None:
    rows = {"a": (200, 200), "b": (200, 200), "c": (200, 0)}
    found = everywhere(rows, config)
    assert ("equalized odds on test leaves out what has no rows: no 'toxic' in 'c'." in found) is told


def test_a_criterion_that_cannot_be_measured() -> None:
    found = of_data(ODDS, val={"a": (200, 200), "b": (400, 0)})
    assert "equalized odds cannot be measured on val: no 'toxic' in 'b'." in found
    found = of_data(PARITY, val={"a": (400, 400)})
    assert "demographic parity cannot be measured on val: no 'civil' or 'toxic' in 'b'." in found


def test_a_rare_label_and_one_without_rows() -> None:
    rare = {"a": (380, 20), "b": (370, 30)}
    assert "The label 'toxic' is rare, 6.2% of the rows: read its recall" in everywhere(rare)
    assert "balanced_accuracy" not in everywhere(rare)
    plain = replace(PARITY, select=SelectConfig(measure="accuracy"))
    assert 'select.measure = "balanced_accuracy"' in everywhere(rare, plain)
    assert "No row has the label 'toxic'." in everywhere({"a": (400, 0), "b": (400, 0)})


def test_parts_that_are_unlike() -> None:
    assert "'civil' is 50.0% of tuning, 75.0% of test" in of_data(test={"a": (300, 100), "b": (300, 100)})
    noise = {"a": (215, 185), "b": (215, 185)}
    assert of_data(test=noise) == ""


def test_inverted_labels_are_called_out_before_anything_else() -> None:
    found = of_model({"a": ((10, 90), (80, 20)), "b": ((30, 70), (95, 5))})
    assert found.startswith("The labels look inverted: 'civil' is answered 'toxic', 'toxic' is answered 'civil'")


def test_labels_are_called_inverted_where_accuracy_is_clearly_below_chance_only() -> None:
    below = of_model({"a": ((45, 55), (80, 20)), "b": ((45, 55), (85, 15))})
    assert "The labels look inverted: the model is right on .312 of the rows, clearly below chance." in below
    chance = of_model({"a": ((45, 55), (55, 45)), "b": ((48, 52), (52, 48))})
    assert "inverted" not in chance
    assert "The accuracy, .465, is not clearly above that of always answering 'civil', .500." in chance


def test_labels_in_another_order_are_found_among_many() -> None:
    turned = ((5, 90, 5), (5, 5, 90), (90, 5, 5))
    found = of_model({"a": turned, "b": turned})
    assert "'x' is answered 'y', 'y' is answered 'z', 'z' is answered 'x' on most rows" in found
    one_way = ((5, 90, 5), (5, 90, 5), (5, 5, 90))  # a label that is mistaken for another one is no order
    assert "inverted" not in of_model({"a": one_way, "b": one_way})


def test_a_model_that_answers_one_label() -> None:
    found = of_model({"a": ((100, 0), (99, 1)), "b": ((100, 0), (100, 0))})
    assert "The model answers 'civil' on 99.8% of the rows." in found
    three = ((90, 10, 0), (10, 90, 0), (40, 60, 0))
    assert "The model never answers 'z'." in of_model({"a": three, "b": three})


def test_gaps_within_noise_and_too_small_for_the_test_part() -> None:
    even = {"a": ((90, 10), (20, 80)), "b": ((88, 12), (20, 80))}
    assert "demographic parity difference, .010, is within noise" in of_model(even, visible=0.005)
    wide = {"a": ((90, 10), (20, 80)), "b": ((60, 40), (10, 90))}
    assert "difference, .200, is smaller than the test part can show, .250." in of_model(wide, visible=0.25)


def test_what_the_inputs_are_like() -> None:
    counts: dict[tuple[str, int | None, int], int] = {("a", 0, 0): 50, ("b", 1, 1): 50}
    plain = BareSample(counts, 100, Counter({(64, 64): 100}), 0, 0, ())
    assert input_cautions(plain, (64, 64)) == []
    assert input_cautions(replace(plain, cut=7), None) == [
        "7 of 100 texts are longer than the model reads and are cut."
    ]
    assert input_cautions(replace(plain, grey=30), (64, 64)) == [
        "30 of 100 images are grey, and the model takes colours."
    ]
    small = input_cautions(plain, (224, 224))
    assert small == ["100 of 100 images are less than half as large as the model's 224 x 224."]
    broken = replace(plain, unusable=("b.png cannot be used (not_an_image): no image", "c.png ..."))
    assert input_cautions(broken, (64, 64))[0].startswith("2 of 102 inputs cannot be used; the first: b.png cannot")
