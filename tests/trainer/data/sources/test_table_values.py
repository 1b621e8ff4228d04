"""Values of other people's tables: mapped, cut, joined by a rule, missing, bad."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import datasets
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.sources import TEXTS, config, loader
from trainer.config.run_config import RunConfig
from trainer.data.loader import DataLoader, open_source
from trainer.data.values.number_bins import bin_index, bin_names
from trainer.progress import LineProgress
from triggers.errors import ConfigError, DataError

COLUMNS = TEXTS.replace('group_words = ["woman", "girl*"]', 'group = "group"')


def table(folder: Path, header: str, rows: Sequence[Sequence[object]], *overrides: str) -> RunConfig:
    """A configuration for a CSV file with a text in front of every row."""
    with (folder / "posts.csv").open("w", newline="") as file:
        csv.writer(file).writerow(["text", *header.split(",")])
        csv.writer(file).writerows([f"post {number}", *row] for number, row in enumerate(rows, start=1))
    return config(folder, COLUMNS, *overrides)


def said(made: RunConfig, labels: tuple[str, ...] = ("no", "yes")) -> str:
    out = io.StringIO()
    DataLoader(made, labels, made.root / "cache", LineProgress(out))
    return out.getvalue()


def test_a_table_for_each_column_names_values_before_they_cross(tmp_path: Path) -> None:
    rows = [(0, "White", "f"), (1, "Black", "m"), (0, "Asian", "f"), (1, "nan", "m")]
    made = table(
        tmp_path, "toxic,race,sex", rows,
        'data.group=["race","sex"]', 'data.group_map.race={White="White", "*"="non-White"}',
        'data.group_map.sex={m="men", f="women"}',
    )  # fmt: skip
    source = open_source(made)
    assert source.group_names == ("White & men", "White & women", "non-White & men", "non-White & women")
    assert [row.group for row in source.rows] == ["White & women", "non-White & men", "non-White & women", ""]
    misspelt = table(
        tmp_path,
        "toxic,race,sex",
        rows[:3],
        'data.group=["race","sex"]',
        'data.group_map.race={Whit="White","*"="other"}',
    )
    assert open_source(misspelt).notes == (
        "data: data.group_map.race names ['Whit'], which no row has; the commonest values are "
        "['White', 'Black', 'Asian']",
    )  # fmt: skip
    lacking = table(tmp_path, "toxic,race,sex", rows, 'data.group=["race","sex"]', 'data.group_map.sex={m="men"}')
    with pytest.raises(DataError, match=r"row 1 \(line 2\): sex 'f' has no entry in data\.group_map\.sex\. Add one"):
        open_source(lacking)


def test_numbers_are_cut_into_groups_and_labels(tmp_path: Path) -> None:
    rows = [(0.2, 29), (0.5, "30"), (0.9, "49.0"), (0.4, 50), (1, 17)]
    made = table(
        tmp_path,
        "score,age",
        rows,
        "data.label=score",
        "data.label_bins=0.5",
        "data.group=age",
        "data.group_bins=[30,50]",
    )
    data = loader(made, ())
    assert data.label_names == ("under 0.5", "0.5 and over")
    assert data.source.group_names == ("under 30", "30 to 49", "50 and over")
    assert [row.label for row in data.source.rows] == [data.label_names[at] for at in (0, 1, 1, 0, 1)]
    assert [row.group for row in data.source.rows] == [data.source.group_names[at] for at in (0, 1, 1, 2, 0)]
    named = loader(
        config(
            tmp_path,
            COLUMNS,
            "data.label=score",
            "data.label_bins=0.5",
            "data.group=age",
            "data.group_bins=[30,50]",
            'data.label_map={"under 0.5"="yes","0.5 and over"="no"}',
        )
    )
    assert named._table.labels == (1, 0, 0, 1, 0)
    assert "by their order, 'under 0.5' is 'no', '0.5 and over' is 'yes'" in said(made)


@pytest.mark.parametrize(
    ("value", "bins", "problem"),
    [
        ("old", "[30]", r"age 'old' is no number\. Mend it"),
        ("1_0", "[30]", "'1_0' is no number"),
        ("inf", "[30]", "'inf' is no number"),
        ("37.5", "[30, 50]", r"'37\.5' is no whole number\. .*data\.group_bins = \[30\.0\]"),
    ],
)
def test_a_value_that_cannot_be_cut_names_its_row(tmp_path: Path, value: str, bins: str, problem: str) -> None:
    rows = [(0, 20), (1, value), (0, 60), (1, 30)]
    keys = ("data.group=age", f"data.group_bins={bins}")
    with pytest.raises(DataError, match=rf"row 2 \(line 3\): age {problem.removeprefix('age ')}"):
        open_source(table(tmp_path, "toxic,age", rows, *keys))
    skipped = loader(table(tmp_path, "toxic,age", rows, *keys, "data.on_bad_row=skip"))
    assert skipped._table.rows == (0, 2, 3)
    assert "1 of 4 rows left out: 1 bad number; first" in said(config(tmp_path, COLUMNS, *keys, "data.on_bad_row=skip"))


@given(st.lists(st.integers(-50, 150), min_size=1, max_size=5, unique=True), st.floats(-60, 160))
def test_a_class_of_numbers_is_the_one_that_its_name_says(edges: list[int], number: float) -> None:
    edges.sort()
    names, at = bin_names([float(edge) for edge in edges]), bin_index(number, edges)
    assert len(set(names)) == len(names) == len(edges) + 1
    low, high = ([float("-inf"), *edges])[at], ([*edges, float("inf")])[at]
    assert low <= number < high
    inside = (
        f"{low:g} to under {high:g}" if 0 < at < len(edges) else f"under {high:g}" if at == 0 else f"{low:g} and over"
    )
    assert names[at] == inside


@pytest.mark.parametrize(("rule", "expected"), [("any", [0, 1, 1, 1]), ("all", [0, 0, 0, 1])])
def test_several_columns_are_one_label_by_a_rule(tmp_path: Path, rule: str, expected: list[int]) -> None:
    rows = [(0, "False", "a"), (1, "false", "b"), (-1, "True", "a"), ("1.0", "TRUE", "b")]
    keys = ('data.label=["toxic","threat"]', f"data.label_rule={rule}")
    made = table(tmp_path, "toxic,threat,group", rows, *keys)
    joined = {"any": "toxic or threat", "all": "toxic and threat"}[rule]
    assert open_source(made).label_names == (f"not ({joined})", joined)
    assert list(loader(made)._table.labels) == list(loader(made, ())._table.labels) == expected
    gap = table(tmp_path, "toxic,threat,group", [*rows, (1, "NA", "a")], *keys)
    with pytest.raises(DataError, match="row 5: no label"):
        loader(gap)
    words = table(tmp_path, "toxic,threat,group", [(1, "maybe", "a")], *keys)
    with pytest.raises(
        DataError, match=r"row 1 \(line 2\): threat is 'maybe', not 0 or 1\. .*\[data\.label_map\.threat\]"
    ):
        open_source(words)
    mapped = table(
        tmp_path,
        "toxic,threat,group",
        [(1, "ja", "a"), (0, "nein", "b")],
        *keys,
        'data.label_map.threat={ja="1",nein="0"}',
    )
    assert loader(mapped)._table.labels == (1, 0)


def test_groups_that_overlap_map_their_columns_to_0_and_1(tmp_path: Path) -> None:
    rows = [(0, "ja", 1), (1, "nein", 0), (1, "nan", 1)]
    keys = ('data.group=["male","black"]', "data.groups_overlap=true")
    source = open_source(table(tmp_path, "toxic,male,black", rows, *keys, 'data.group_map.male={ja="1",nein="0"}'))
    assert [row.group for row in source.rows] == ["male + black", "none", ""]
    with pytest.raises(ConfigError, match=r"map the values of each column to 0 or 1: \[data\.group_map\.COLUMN\]"):
        table(tmp_path, "toxic,male,black", rows, *keys, 'data.group_map={ja="1"}')


def test_columns_that_are_named_or_cut_cross_by_their_names(tmp_path: Path) -> None:
    rows = [("White", 20, "a"), ("Black", 70, "b"), ("Asian", 20, "a")]
    made = table(
        tmp_path, "race,age,group", rows,
        'data.label=["race","age"]', 'data.label_map.race={White="White","*"="other"}', "data.label_bins.age=[65]",
    )  # fmt: skip
    source = open_source(made)
    assert source.label_names == ("White & under 65", "other & under 65", "White & 65 and over", "other & 65 and over")
    assert [source.label_names.index(row.label) for row in source.rows] == [0, 3, 1]


def test_bad_rows_of_every_kind_are_skipped_and_told(tmp_path: Path) -> None:
    rows: list[tuple[object, ...]] = [(n % 2, "ab"[n // 2 % 2]) for n in range(12)]
    rows[1], rows[3], rows[6] = (1,), ("maybe", "a"), ("", "b")
    made = table(tmp_path, "toxic,group", rows, "data.on_bad_row=skip")
    data = loader(made)
    assert data._table.rows == (0, 2, 4, 5, 7, 8, 9, 10, 11)
    assert data._table.labels == (0, 0, 0, 1, 1, 0, 1, 0, 1)
    notes = said(made)
    assert "1 of 12 rows left out: 1 wrong number of fields; first" in notes
    assert "2 of 11 rows left out: 1 unknown label, 1 missing label; first row 4 (label 'maybe' is none" in notes
    with pytest.raises(DataError, match=r"row 2 \(line 3\): 2 fields, but the header names 3"):
        loader(config(tmp_path, COLUMNS))
    (tmp_path / "posts.csv").write_text("text,toxic,group\n,1,a\nb,1,b\nNone,0,a\nnan,0,b\n")
    empty = loader(config(tmp_path, COLUMNS, "data.on_bad_row=skip"))
    assert [empty.source.read(row) for row in empty._table.rows] == ["b", "None", "nan"]


def test_tables_of_values_are_checked_before_the_data(tmp_path: Path) -> None:
    for key, problem in (
        ("data.group_bins=[30,30]", "give rising numbers"),
        ('data.group_map={a="x",group={b="y"}}', "holds names and tables"),
        ('data.group_map={race={b="y"}}', r"data\.group_map\.race is for no column of data\.group \['group'\]"),
        ("data.group_map={a=1}", r"data\.group_map\.a must be a string or a section of keys, not 1"),
        ('data.group_map={a=""}', "maps a value to an empty name"),
        ("data.label_rule=any", "name them in data.label"),
    ):
        with pytest.raises(ConfigError, match=problem):
            config(tmp_path, COLUMNS, key)
    with pytest.raises(ConfigError, match=r"is a list, but there are 2 columns; write it as \[data\.group_bins\]"):
        config(tmp_path, COLUMNS, 'data.group=["a","b"]', "data.group_bins=[3]")
    for kind, key in (
        ("celeba", "data.label_bins=1"),
        ("utkface", "data.group_bins=[3]"),
        ("celeba", 'data.group_map.group={a="b"}'),
    ):
        with pytest.raises(ConfigError, match=kind):
            config(tmp_path, COLUMNS.replace('"csv"', f'"{kind}"'), key)


TEN = [("toxic", "civil")[n % 2] for n in range(10)]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["True" if one == "toxic" else "False" for one in TEN], [1, 0] * 5),
        (["1" if one == "toxic" else "-1" for one in TEN], [1, 0] * 5),
    ],
)
def test_true_and_false_and_plus_and_minus_one_are_labels(
    tmp_path: Path, labels: list[str], expected: list[int]
) -> None:
    made = table(tmp_path, "toxic,group", [(label, "mf"[n // 2 % 2]) for n, label in enumerate(labels)])
    assert list(loader(made, ("civil", "toxic"))._table.labels) == expected


def test_groups_written_nan_are_missing_and_female_beside_Female_is_noted(tmp_path: Path) -> None:
    groups = ["nan", "male", "female", "nan", "male", "female", "male", "female", "male", "female"]
    made = table(tmp_path, "toxic,group", list(zip(TEN, groups, strict=True)))
    with pytest.raises(DataError, match=r"row 1 has no group \('nan'\), one of 2 such rows\."):
        loader(made, ("civil", "toxic"))
    dropped = loader(config(tmp_path, COLUMNS, "data.missing_group=drop"), ("civil", "toxic"))
    assert (dropped._table.group_names, len(dropped._table.rows)) == (("female", "male"), 8)
    groups[0], groups[3] = "Female", "male"
    note = said(table(tmp_path, "toxic,group", list(zip(TEN, groups, strict=True))), ("civil", "toxic"))
    assert "'female' (4 rows) and 'Female' (1 rows) differ only in spelling and are kept apart" in note
    assert '{ "male" = "male", "female" = "female", "Female" = "female" }' in note


def arrow(folder: Path, names: list[str], codes: list[int], groups: list[int]) -> RunConfig:
    """A `datasets` folder whose label and group are columns of classes."""
    columns = {"text": [f"post {n}" for n in range(len(codes))], "toxic": codes, "group": groups}
    features = datasets.Features(
        text=datasets.Value("string"),
        toxic=datasets.ClassLabel(names=names),
        group=datasets.ClassLabel(names=["male", "female"]),
    )
    datasets.Dataset.from_dict(columns, features=features).save_to_disk(folder / "posts")
    return config(folder, COLUMNS.replace('"csv"', '"datasets"'), "data.path=posts")


def test_classes_are_their_names_in_whatever_order(tmp_path: Path) -> None:
    made = arrow(tmp_path, ["toxic", "civil"], [0, 1, 0, 0, -1, 1], [0, 1, 1, 0, 0, 1])
    with pytest.raises(DataError, match="row 5: no label"):
        loader(made, ("civil", "toxic"))
    made = config(tmp_path, COLUMNS.replace('"csv"', '"datasets"'), "data.path=posts", "data.on_bad_row=skip")
    data = loader(made, ("civil", "toxic"))
    assert data._table.labels == (1, 0, 1, 1, 0)  # by name: the data's own order is the other one
    assert (data._table.group_names, data._table.groups) == (("female", "male"), (1, 0, 0, 1, 0))
    assert loader(made, ()).label_names == ("toxic", "civil")
    with pytest.raises(
        DataError, match=r"No label in the data is one of .*\{ \"civil\" = \"\.\.\.\", \"toxic\" = \"\.\.\.\" \}"
    ):
        loader(made, ("neg", "pos"))
    mapped = config(
        tmp_path,
        COLUMNS.replace('"csv"', '"datasets"'),
        "data.path=posts",
        "data.on_bad_row=skip",
        'data.label_map={civil="neg",toxic="pos"}',
    )
    assert loader(mapped, ("neg", "pos"))._table.labels == (1, 0, 1, 1, 0)
    assert loader(mapped, ()).label_names == ("neg", "pos")
