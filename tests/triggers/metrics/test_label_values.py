"""What a label is, to data and to late reports alike."""

from __future__ import annotations

import pytest

from trainer.data.labels import value_indices
from triggers.metrics.label_values import label_index

TWO, THREE = ("plain", "attractive"), ("a", "b", "c")


@pytest.mark.parametrize(
    ("value", "names", "index"),
    [
        ("plain", TWO, 0),
        ("attractive", TWO, 1),
        *((value, TWO, 1) for value in (1, 1.0, "1", "1.0", "1.", "1.00", True, "TRUE", "true")),
        *((value, TWO, 0) for value in (0, 0.0, "0", "0.0", -1, "-1", False, "False")),
        *((value, THREE, 2) for value in (2, 2.0, "2", "2.0")),
        *((value, THREE, None) for value in (True, "true", -1, "-1", 3, 2.5, "2.5", "C", "", "1e0", "\u0661")),
        *((value, TWO, None) for value in (2, -2, 0.5, "yes", float("nan"), float("inf"), 10**400, "9" * 5000)),
        ("1", ("1", "0"), 0),
        (1, ("1", "0"), 0),
        ("True", ("True", "False"), 0),
        (True, ("True", "False"), 0),
        ("1", ("0", "1"), 1),
    ],
)
def test_a_name_first_then_an_index_then_a_flag(value: str | float, names: tuple[str, ...], index: int | None) -> None:
    assert label_index(value, names) == index
    if isinstance(value, str) and value:
        assert value_indices([value], names, (), "labels") == {value: index}


def test_the_trainer_reads_flags_as_labels() -> None:
    for values in (["True", "False"], ["1", "-1"], ["1.0", "0.0"]):
        assert value_indices(values, TWO, (), "labels") == dict(zip(values, (1, 0), strict=True))
