"""Groups of several attributes: one name each, and exact sums over the attributes left out."""

from __future__ import annotations

import pytest

from triggers.metrics.attributes import attribute_subsets, attributes_of, group_by_attributes, sorted_name


@pytest.mark.parametrize(
    ("group", "named"),
    [
        ("sex=female,age=old", {"sex": "female", "age": "old"}),
        (" sex = female , age=old ", {"sex": "female", "age": "old"}),
        ("sex=a=b", {"sex": "a=b"}),
        ("female", {}),
        ("sex=female,old", {}),
        ("sex=female,sex=male", {}),
        ("sex=", {}),
        ("unknown", {}),
    ],
)
def test_what_a_name_says(group: str, named: dict[str, str]) -> None:
    assert attributes_of(group) == named


def test_one_name_whatever_the_order() -> None:
    assert sorted_name("sex=f,age=old") == sorted_name("age=old, sex=f") == "age=old,sex=f"
    assert sorted_name("a, b") == "a, b"


def test_crosses_are_every_set_of_attributes_but_all() -> None:
    assert attribute_subsets(["sex=f,age=old", "unknown"]) == [("age",), ("sex",)]
    assert len(attribute_subsets(["a=1,b=1,c=1"])) == 6
    assert (
        attribute_subsets(["sex=f", "sex=m"])
        == attribute_subsets(["f", "m"])
        == attribute_subsets(["a=1,b=1,c=1,d=1,e=1"])
        == []
    )


def test_a_group_by_fewer_attributes() -> None:
    assert group_by_attributes("sex=f,age=old", ("age",)) == "age=old"
    assert group_by_attributes("sex=f,age=old,city=x", ("city", "sex")) == "city=x,sex=f"
    assert group_by_attributes("sex=f", ("age",)) == group_by_attributes("other", ("age",)) == "unknown"
