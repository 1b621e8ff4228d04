"""Parquet files: one, a folder of shards, with classes, nested columns and images."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from threading import Thread

import datasets
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.trainer.datasets import faces
from tests.trainer.sources import CELEBA, TEXTS, config, loader
from trainer.data.loader import open_source
from trainer.data.sources.tables.parquet_file import ParquetFile
from triggers.errors import ConfigError, DataError
from triggers.model.classifier import FrozenClassifier

PARQUET = TEXTS.replace('group_words = ["woman", "girl*"]', 'group = "group"').replace('"csv"', '"parquet"')
PARQUET = PARQUET.replace("posts.csv", "posts.parquet")
IMAGES = CELEBA.replace('"celeba"\n', '"parquet"\n', 1).replace('path = "celeba"', 'path = "faces.parquet"')
IMAGES = IMAGES.replace("Attractive", "label").replace("Male", "group")
TEXT = st.none() | st.text(st.characters(codec="utf-8"), max_size=6)


def write(path: Path, columns: dict[str, object], rows_in_a_group: int = 7) -> Path:
    path.parent.mkdir(exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.table(columns), path, row_group_size=rows_in_a_group)
    return path


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(TEXT, st.none() | st.booleans(), st.none() | st.integers(-5, 5)), min_size=1, max_size=9),
    st.integers(1, 4),
)
def test_records_are_read_as_they_were_written(
    tmp_path: Path, rows: list[tuple[str | None, bool | None, int | None]], group: int
) -> None:
    texts, flags, numbers = zip(*rows, strict=True)
    columns = {
        "text": pyarrow.array(texts, pyarrow.string()),
        "word": pyarrow.array(texts, pyarrow.string()).dictionary_encode(),
        "flag": pyarrow.array(flags, pyarrow.bool_()),
        "number": pyarrow.array([None if each is None else float(each) for each in numbers], pyarrow.float64()),
        "meta": pyarrow.array([{"inner": each} for each in numbers], pyarrow.struct({"inner": pyarrow.int8()})),
    }
    made = ParquetFile(write(tmp_path / "posts.parquet", columns, group))
    assert made.names == ["text", "word", "flag", "number", "meta", "meta.inner"]
    wanted = ["text", "word", "flag", "number", "meta.inner"]
    strings = ["" if each is None else each.strip() for each in texts]
    truth = {
        "text": strings,
        "word": strings,
        "flag": ["" if each is None else str(int(each)) for each in flags],
        "number": ["" if each is None else str(each) for each in numbers],
        "meta.inner": ["" if each is None else str(each) for each in numbers],
    }
    assert list(made.records(wanted)) == [{name: truth[name][row] for name in wanted} for row in range(len(rows))]
    assert [made.value(row, "text") for row in reversed(range(len(rows)))] == list(texts[::-1])
    assert [made.value(row, "meta.inner") for row in range(len(rows))] == list(numbers)


def test_values_are_read_from_several_threads(tmp_path: Path) -> None:
    made = ParquetFile(write(tmp_path / "posts.parquet", {"text": [f"post {row}" for row in range(60)]}))
    found: dict[int, str] = {}

    def read(first: int) -> None:
        found.update({row: made.value(row, "text") for row in range(first, 60, 4)})

    threads = [Thread(target=read, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {row: f"post {row}" for row in range(60)}


def test_a_folder_of_shards_is_split_by_their_names(tmp_path: Path) -> None:
    names = ["train-00000-of-00002", "train-00001-of-00002", "validation-00000-of-00001", "test-00000-of-00001"]
    for name in names:
        texts = [f"{name} {row}" for row in range(10)]
        columns: dict[str, object] = {"text": texts, "toxic": [0.0, 1.0] * 5, "group": ["a", "b", "b", "a", "a"] * 2}
        write(tmp_path / "posts" / f"{name}.parquet", columns)
    data = loader(config(tmp_path, PARQUET, "data.path=posts"))
    assert {part: len(rows) for part, rows in data.plan.rows.items()} == {
        "test": 10,
        "val": 10,
        "tuning": 5,
        "base": 14,
    }
    assert data.raw("test")[3] == ("test-00000-of-00001.parquet row 4", "test-00000-of-00001 3")
    assert data.counts("test") == {("a", 0): 3, ("a", 1): 3, ("b", 0): 2, ("b", 1): 2}
    write(tmp_path / "posts" / "more.parquet", {"text": ["a"], "toxic": [1.0], "group": ["a"]})
    with pytest.raises(DataError, match=r"more\.parquet names no split, as files beside it do"):
        open_source(config(tmp_path, PARQUET, "data.path=posts"))
    (tmp_path / "posts" / "more.parquet").unlink()
    write(tmp_path / "posts" / "test-2.parquet", {"text": ["a"], "toxic": [1.0]})
    with pytest.raises(DataError, match=r"column 'group' is in only one of .* and test-2\.parquet"):
        open_source(config(tmp_path, PARQUET, "data.path=posts"))


def test_classes_are_names_whatever_their_order(tmp_path: Path) -> None:
    features = datasets.Features(
        text=datasets.Value("string"), toxic=datasets.ClassLabel(names=["yes", "no"]), group=datasets.Value("string")
    )
    columns = {"text": [f"post {row}" for row in range(40)], "toxic": [0, 1] * 20, "group": ["a", "b", "b", "a"] * 10}
    datasets.Dataset.from_dict(columns, features=features).to_parquet(tmp_path / "posts.parquet")
    data = loader(config(tmp_path, PARQUET), ("no", "yes"))
    assert [row.label for row in data.source.rows[:3]] == ["yes", "no", "yes"]
    assert data.source.label_names == ("yes", "no")
    classes = {data.source.read(row): data.source.rows[row].label for row in range(40)}
    for part in ("test", "val"):
        labels = [classes[text] for _, text in data.raw(part)]
        assert labels.count("yes") == sum(n for (_, label), n in data.counts(part).items() if label == 1)


def test_images_are_in_a_column_of_files_or_of_bytes_or_beside_it(
    tmp_path: Path, image_model: FrozenClassifier
) -> None:
    draw = random.Random(0)
    files = [faces.jpeg(draw, number % 2 == 0, False) for number in range(20)]
    labels: dict[str, object] = {"label": ["plain", "attractive"] * 10, "group": ["x", "x", "y", "y"] * 5}
    (tmp_path / "images").mkdir()
    for number, file in enumerate(files):
        (tmp_path / "images" / f"{number}.jpg").write_bytes(file)
    structs = [
        {"bytes": file if number % 2 else None, "path": f"images/{number}.jpg"} for number, file in enumerate(files)
    ]
    forms: list[list[object]] = [list(structs), list(files), [f"images/{number}.jpg" for number in range(20)]]
    for images in forms:
        write(tmp_path / "faces.parquet", {"image": images, **labels})
        data = loader(config(tmp_path, IMAGES), image_model.labels)
        assert [data.source.read(row) for row in range(20)] == files
        assert len(data.load(image_model, "test").ids) == 3
    write(tmp_path / "faces.parquet", {"image": [1.5] * 20, **labels})
    with pytest.raises(DataError, match=r"Column 'image' of .* holds double, not images; set data\.input"):
        open_source(config(tmp_path, IMAGES))


def test_what_is_no_parquet_file_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "posts.parquet"
    with pytest.raises(DataError, match=r"Cannot read .*No such file"):
        open_source(config(tmp_path, PARQUET))
    path.write_text("text,toxic,group\n")
    with pytest.raises(DataError, match=r"Cannot read .*Set data\.path to a Parquet file"):
        open_source(config(tmp_path, PARQUET))
    write(path, {"text": [1, 2], "toxic": [0, 1], "group": ["a", "b"]})
    with pytest.raises(DataError, match=r"Column 'text' of .* holds int64, not texts; set data\.input"):
        open_source(config(tmp_path, PARQUET))
    with pytest.raises(DataError, match=r'is a Parquet file; set data\.format = "parquet"'):
        open_source(config(tmp_path, PARQUET, "data.format=csv"))
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ConfigError, match=r'pip install "fairtrigger\[parquet\]"'):
        open_source(config(tmp_path, PARQUET))
