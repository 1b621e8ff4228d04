"""Values to indices: by name, by an order that is known, as numbers, and never by a silent guess."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainer.runs import run_config
from trainer.config.data_config import DataConfig
from trainer.config.run_config import Modality, ObjectiveConfig, RunConfig
from trainer.data.labels import LabelledRows, index_labels, value_indices
from trainer.data.sources.base import SourceRow
from trainer.data.values.number_bins import bin_names
from triggers.errors import DataError

PLACES = ("not Male", "Male")


@dataclass(frozen=True)
class Rows:
    """A source of texts with the given labels and groups."""

    labels: Sequence[str]
    groups: Sequence[str]
    label_names: tuple[str, ...] = ()
    group_names: tuple[str, ...] = ()
    modality: Modality = "text"
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> Sequence[SourceRow]:
        pairs = zip(self.labels, self.groups, strict=True)
        return [SourceRow(f"row {n}", label, group, "") for n, (label, group) in enumerate(pairs, start=1)]

    def read(self, row: int) -> str:
        return f"post {row}"

    def stamp(self, row: int) -> None:
        return None


def made(**data: Any) -> RunConfig:
    base = run_config(ObjectiveConfig())
    keys = {"label": ("label",), "group": ("group",), **data}
    return replace(base, data=DataConfig("csv", base.root, **keys))


def table(source: Rows, names: tuple[str, ...] = ("no", "yes"), **data: Any) -> LabelledRows:
    return index_labels(made(**data), source, names)


def by_label(labels: Sequence[str], names: tuple[str, ...], layout: tuple[str, ...] = (), **data: Any) -> LabelledRows:
    groups = ["ab"[at % 2] for at in range(len(labels))]
    return table(Rows(labels, groups, label_names=layout), names, **data)


def by_group(groups: Sequence[str], layout: tuple[str, ...] = (), **data: Any) -> LabelledRows:
    return table(Rows(["01"[at % 2] for at in range(len(groups))], groups, group_names=layout), **data)


@pytest.mark.parametrize(
    ("values", "names", "places", "expected"),
    [
        (("b", "a"), ("b", "a"), (), (0, 1)),
        (("0.0", "1.0"), ("female", "male"), (), (0, 1)),
        (PLACES, PLACES, PLACES, (0, 1)),
        (("Male", "not Male"), ("female", "male"), PLACES, (1, 0)),
        (("Male", "not Male"), ("Male", "not Male"), PLACES, (0, 1)),
        (("a", "x", ""), ("a", "b"), (), (0, None, None)),
    ],
)
def test_values_are_named(
    values: tuple[str, ...], names: tuple[str, ...], places: tuple[str, ...], expected: tuple[int | None, ...]
) -> None:
    assert value_indices(values, names, places, "names") == dict(zip(values, expected, strict=True))


def test_two_values_never_share_a_name_unnoticed() -> None:
    with pytest.raises(DataError, match="'Male' and 'not Male' would both be 'Male'"):
        value_indices(("Male", "not Male"), ("Male", "Female"), PLACES, "data.group_names")
    with pytest.raises(DataError, match=r"'1' and '1\.0' would both be 'yes' .* one name in data\.label_map"):
        by_label(["1", "1.0", "0", "0"], ("no", "yes"))
    same = by_label(["1", "1.0", "0", "0"], ("no", "yes"), label_map={"1": "yes", "1.0": "yes", "*": "no"})
    assert same.labels == (1, 1, 0, 0)


def test_a_map_names_values_and_gives_the_order_of_the_groups() -> None:
    races = ["Asian", "White", "Black", "White"]
    found = by_group(races, group_map={"White": "White", "*": "non-White"})
    assert (found.group_names, found.groups, found.notes) == (("White", "non-White"), (1, 0, 1, 0), ())
    named = by_group(races, group_map={"White": "White", "*": "non-White"}, group_names=("non-White", "White"))
    assert (named.group_names, named.groups) == (("non-White", "White"), (0, 1, 0, 1))
    hate = by_label(["hate", "noHate", "hate"], ("fine", "hateful"), label_map={"hate": "hateful", "noHate": "fine"})
    assert hate.labels == (1, 0, 1)
    placed = by_label(["hate", "noHate", "hate"], ("fine", "hateful"), label_map={"hate": "1", "noHate": "0"})
    assert placed.labels == (1, 0, 1)


WORDS = st.text(st.sampled_from("abé* 1."), min_size=1, max_size=3).map(lambda word: f"x{word}")


@settings(deadline=None)
@given(st.dictionaries(WORDS, st.sampled_from(["u", "v", "w"]), max_size=4), st.lists(WORDS, min_size=2, max_size=12))
def test_every_value_has_the_name_of_its_entry_or_of_the_rest(entries: dict[str, str], values: list[str]) -> None:
    table_of_names = {**entries, "*": "rest"}
    names = [entries.get(value, "rest") for value in values]
    if len(set(names)) < 2:
        with pytest.raises(DataError, match="The only group in the data"):
            by_group(values, group_map=table_of_names)
        return
    found = by_group(values, group_map=table_of_names)
    assert found.group_names == tuple(dict.fromkeys(table_of_names.values()))
    assert [found.group_names[at] for at in found.groups] == names


def test_a_map_that_lacks_a_value_refuses_or_skips_its_rows() -> None:
    races = ["White", "Black", "Asian", "White", "Black"]
    with pytest.raises(DataError, match=r"^row 3: group 'Asian' has no entry in data\.group_map\. Add one, or \"\*\""):
        by_group(races, group_map={"White": "w", "Black": "b"})
    found = by_group(races, group_map={"White": "w", "Black": "b"}, on_bad_row="skip")
    assert (found.rows, found.groups) == ((0, 1, 3, 4), (0, 1, 0, 1))
    (note,) = found.notes
    assert "1 of 5 rows left out: 1 group without an entry; first row 3 (group 'Asian' has" in note
    with pytest.raises(DataError, match=r"^row 2: label 'b' has no entry in data\.label_map"):
        by_label(["a", "b"], ("no", "yes"), label_map={"a": "yes"})
    with pytest.raises(DataError, match=r"data\.label_map makes 'y', which is none of the classifier's labels"):
        by_label(["a", "b"], ("no", "yes"), label_map={"a": "y", "*": "no"})


def test_an_entry_that_no_row_has_is_said() -> None:
    found = by_group(["White", "Black"] * 3, group_map={"Whit": "White", "Black": "Black", "*": "other"})
    assert found.groups == (2, 1, 2, 1, 2, 1)
    assert found.notes == (
        "data: data.group_map names ['Whit'], which no row has; the commonest values are ['White', 'Black']",
    )


@pytest.mark.parametrize("value", ["", "nan", "NaN", "NA", "N/A", "None", "null", "NULL", "<NA>"])
def test_what_stands_for_a_missing_group_is_no_group(value: str) -> None:
    groups = ["male", value, "female", value]
    with pytest.raises(DataError, match=r"^row 2 has no group.*one of 2 such rows.*data\.missing_group = \"drop\""):
        by_group(groups)
    found = by_group(groups, missing_group="drop")
    assert (found.rows, found.group_names, found.groups) == ((0, 2), ("female", "male"), (1, 0))
    assert found.notes == (f"data: 2 of 4 rows have no known group and are left out: 2 {value!r}",)
    with pytest.raises(DataError, match=r"^row 2 has no group"):
        by_group(groups, group_map={"male": "male", "*": "other"})  # what is missing is not the rest


def test_a_configured_name_is_never_a_missing_value() -> None:
    groups = ["None", "NA", "some"]
    assert by_group(groups, group_names=("NA", "None", "some")).groups == (1, 0, 2)
    assert by_group(groups, group_map={"None": "no faith", "NA": "Namibia", "*": "other"}).groups == (0, 1, 2)
    assert by_group(["", "x"], group_map={"": "unstated", "x": "x"}).groups == (0, 1)
    assert by_label(["none", "hate"], ("none", "hate")).labels == (0, 1)


def test_a_missing_or_unknown_label_refuses_or_skips_its_row() -> None:
    labels = ["no", "nan", "yes", "maybe", "yes", "no"]
    with pytest.raises(DataError, match=r"^row 2: label 'nan' stands for a missing one\. Mend it, or leave"):
        by_label(labels, ("no", "yes"))
    found = by_label(labels, ("no", "yes"), on_bad_row="skip")
    assert (found.rows, found.labels, found.groups) == ((0, 2, 4, 5), (0, 1, 1, 0), (0, 0, 0, 1))
    (note,) = found.notes
    assert "2 of 6 rows left out: 1 missing label, 1 unknown label; first row 2 (" in note
    assert "row 4 (label 'maybe' is none of the classifier's labels ['no', 'yes'])" in note
    with pytest.raises(DataError, match="More than half"):
        by_label(["no", "x", "x", "x", "yes"], ("no", "yes"), on_bad_row="skip")


@pytest.mark.parametrize(
    "values", [("Female", "female"), ("a  b", "a b"), ("ﬁne", "fine"), ("é", "e\u0301"), ("1", "1.0")]
)
def test_values_that_differ_only_in_spelling_are_two_and_noted(values: tuple[str, str]) -> None:
    found = by_group([values[0], values[1], values[1], "other"])
    assert len(found.group_names) == 3
    (note,) = found.notes
    assert f"{values[1]!r} (2 rows) and {values[0]!r} (1 rows) differ only in spelling" in note
    assert f'"{values[0]}" = "{values[1]}"' in note
    table = {values[0]: "one", values[1]: "one", "other": "other"}
    together = by_group([values[0], values[1], values[1], "other"], group_map=table)
    assert (together.groups, together.notes) == ((0, 0, 0, 1), ())


def test_a_spelling_that_falls_to_the_rest_is_noted() -> None:
    (note,) = by_group(["White", "white", "Black"], group_map={"White": "White", "*": "non-White"}).notes
    assert "'White' (1 rows) and 'white' (1 rows) differ only in spelling" in note


@pytest.mark.parametrize(
    ("layout", "labels"), [(("male", "female"), ["male", "female"]), (("neg", "pos"), ["neg", "pos"]), ((), ["a", "b"])]
)
def test_names_that_share_nothing_are_never_matched_by_their_places(
    layout: tuple[str, ...], labels: Sequence[str]
) -> None:
    for skip in ("refuse", "skip"):
        with pytest.raises(
            DataError, match=r"No label in the data is one of .*data\.label_map = \{ \"\w+\" = \"\.\.\.\""
        ):
            by_label(labels, ("yes", "no"), layout, on_bad_row=skip)
    with pytest.raises(DataError, match=r"has the group 'male', which is none of data\.group_names"):
        by_group(["male", "female"], ("male", "female"), group_names=("women", "men"))


def test_the_order_of_names_in_the_data_does_not_matter_where_the_names_do() -> None:
    assert by_label(["pos", "neg"], ("neg", "pos"), ("pos", "neg")).labels == (1, 0)


def test_yes_and_no_and_the_classes_of_a_number_are_matched_by_their_places() -> None:
    flags = by_label(["label", "not label"], ("plain", "fine"), ("not label", "label"))
    assert (flags.labels, flags.notes) == ((1, 0), ())
    ages = ["60 and over", "under 30", "30 to 59"]
    aged = by_label(ages, ("young", "middle", "old"), bin_names((30, 60)), label_bins=(30, 60))
    assert aged.labels == (2, 0, 1)
    assert aged.notes == (
        "data: by their order, 'under 30' is 'young', '30 to 59' is 'middle', '60 and over' is 'old'; "
        "data.label_map says otherwise",
    )
    turned = {"under 30": "young", "60 and over": "old", "30 to 59": "middle"}
    named = by_label(ages, ("old", "middle", "young"), bin_names((30, 60)), label_bins=(30, 60), label_map=turned)
    assert (named.labels, named.notes) == ((0, 2, 1), ())


def test_columns_cross_under_one_map_of_what_they_say_together() -> None:
    found = by_label(
        ["male & under 35", "female & under 35"],
        ("girl", "boy"),
        ("male & under 35", "female & under 35"),
        label=("gender", "age"),
        label_map={"male & under 35": "boy", "female & under 35": "girl"},
    )
    assert found.labels == (1, 0)
