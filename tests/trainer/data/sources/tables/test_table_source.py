"""CSV manifests and `datasets` folders, of images and of texts."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import datasets
import pytest
from torch import Tensor

from tests.trainer.datasets import faces
from tests.trainer.sources import CELEBA, TEXTS, config, loader, posts
from trainer.data.loader import open_source
from triggers.errors import ConfigError, DataError
from triggers.model.classifier import FrozenClassifier
from triggers.preprocessing.preprocess import TextBatch


def test_a_csv_of_images(tmp_path: Path, image_model: FrozenClassifier) -> None:
    draw = random.Random(0)
    (tmp_path / "images").mkdir()
    lines = ["path,label,sex,split"]
    for number in range(30):
        name = f"{number}.jpg"
        (tmp_path / "images" / name).write_bytes(faces.jpeg(draw, number % 2 == 0, number % 3 == 0))
        part = ("train", "train", "validation", "test")[number % 4]
        lines.append(f"{name},{('plain', 'attractive')[number % 2]},{('f', 'm')[number % 3 == 0]},{part}")
    (tmp_path / "faces.csv").write_text("\n\n".join(lines))
    text = CELEBA.replace("celeba", "csv", 1).replace('path = "celeba"', 'path = "faces.csv"\nroot = "images"')
    made = config(tmp_path, text.replace("Attractive", "label").replace("Male", "sex"), 'data.group_names=["m","f"]')
    splits = loader(made, image_model.labels).splits(image_model)
    assert splits.test.group_names == ("m", "f")
    assert splits.test.ids == tuple(f"{number}.jpg" for number in range(3, 30, 4))
    assert splits.test.labels.tolist() == [1] * 7
    assert splits.test.groups.tolist() == [int(number % 3 != 0) for number in range(3, 30, 4)]


def test_a_csv_of_texts_grouped_by_words(tmp_path: Path, text_model: FrozenClassifier) -> None:
    posts(tmp_path)
    data = loader(config(tmp_path, TEXTS))
    test = data.load(text_model, "test")
    assert test.group_names == ("not mentioned", "mentioned")
    assert isinstance(test.inputs, TextBatch)
    for row, (_, text) in enumerate(data.raw("test")):
        assert isinstance(text, str)
        mentioned = text.startswith(("the woman", "two Girls"))
        assert test.groups[row] == int(mentioned)
        served = text_model.preprocess(text)
        assert test.inputs.ids[row, : test.inputs.lengths[row]].tolist() == list(served.ids)  # type: ignore[union-attr]


def test_group_words_come_from_a_file_too(tmp_path: Path) -> None:
    posts(tmp_path)
    (tmp_path / "words.txt").write_text("# people\nwoman\n\ngirl*\n")
    text = TEXTS.replace('group_words = ["woman", "girl*"]', 'group_words_file = "words.txt"')
    assert open_source(config(tmp_path, text)).rows == open_source(config(tmp_path, TEXTS)).rows
    (tmp_path / "words.txt").write_text("# nothing\n")
    with pytest.raises(DataError, match="list of group words is empty"):
        open_source(config(tmp_path, text))


def test_csv_errors_name_row_and_column(tmp_path: Path, text_model: FrozenClassifier) -> None:
    grouped = TEXTS.replace('group_words = ["woman", "girl*"]', 'group = "group"')
    with pytest.raises(DataError, match="Cannot read"):
        open_source(config(tmp_path, TEXTS))
    path = posts(tmp_path)
    with pytest.raises(DataError, match=r"no column 'toxix' \(data.label\); did you mean 'toxic'"):
        open_source(config(tmp_path, TEXTS, "data.label=toxix"))
    good = path.read_text()
    path.write_text(good + "too,few\n")
    with pytest.raises(DataError, match=r"row 41 \(line 42\): 2 fields, but the header names 3"):
        open_source(config(tmp_path, TEXTS))
    path.write_text(good + "a man,2,a\n")
    with pytest.raises(DataError, match="row 41: label '2' is none of the classifier's labels"):
        loader(config(tmp_path, TEXTS))
    path.write_text(good + "a man,,a\n")
    with pytest.raises(DataError, match="row 41: no label"):
        loader(config(tmp_path, TEXTS))
    path.write_text(good + "a man,1,\n")
    with pytest.raises(DataError, match=r"row 41 has no group\. Mend them, or leave them out"):
        loader(config(tmp_path, grouped))
    dropped = loader(config(tmp_path, grouped, "data.missing_group=drop"))
    assert sum(len(rows) for rows in dropped.plan.rows.values()) == 40
    path.write_text(good + '" ",1,a\n')
    with pytest.raises(DataError, match=r"row 41 \(line 42\): column 'text' is empty"):
        open_source(config(tmp_path, grouped))
    path.write_text(good + "\u00ad,1,a\n")
    with pytest.raises(DataError, match="row 41: cannot be used \\(empty_text\\)"):
        for part in ("base", "tuning", "val", "test"):
            loader(config(tmp_path, grouped)).load(text_model, part)


def test_several_label_columns_are_one_label(tmp_path: Path, text_model: FrozenClassifier) -> None:
    rows = [f"a man {n},{n % 2},{('False', 'True')[n // 2 % 2]},{'ab'[n % 2]},{n % 3}" for n in range(40)]
    (tmp_path / "posts.csv").write_text("\n".join(["text,toxic,insult,group,stars", *rows]))
    text = TEXTS.replace('group_words = ["woman", "girl*"]', 'group = "group"')
    data = loader(config(tmp_path, text, 'data.label=["toxic","insult"]'), ())
    assert data.label_names == ("none", "toxic", "insult", "toxic & insult")
    test = data.load(text_model, "test")
    assert test.labels.tolist() == [(int(name.removeprefix("row ")) - 1) % 4 for name in test.ids]
    mixed = open_source(config(tmp_path, text, 'data.label=["stars","toxic"]'))
    assert mixed.label_names == (
        "stars=0", "stars=1", "stars=2", "stars=0 & toxic", "stars=1 & toxic", "stars=2 & toxic",
    )  # fmt: skip
    assert mixed.rows[5].label == "stars=2 & toxic"
    (tmp_path / "posts.csv").write_text("text,toxic,insult,group\na man,1,,a\na dog,0,1,b\n")
    with pytest.raises(DataError, match="row 1: no label"):
        loader(config(tmp_path, text, 'data.label=["toxic","insult"]'), ())


def test_columns_of_0_and_1_are_groups_that_overlap(tmp_path: Path) -> None:
    lines = ["text,toxic,male,black", "one,0,1,1", "two,1,0.0,true", "three,1,False,0", "four,0,,1"]
    (tmp_path / "posts.csv").write_text("\n".join(lines))
    text = TEXTS.replace('group_words = ["woman", "girl*"]', 'group = ["male", "black"]\ngroups_overlap = true')
    source = open_source(config(tmp_path, text))
    assert source.group_names == ("male", "black")
    assert [row.group for row in source.rows] == ["male + black", "black", "none", ""]
    (tmp_path / "posts.csv").write_text("text,toxic,male,black\none,0,1,2\n")
    with pytest.raises(DataError, match=r"row 1 \(line 2\): black is '2', not 0 or 1"):
        open_source(config(tmp_path, text))


def test_a_table_that_names_no_labels_needs_those_of_the_base(tmp_path: Path) -> None:
    posts(tmp_path)
    with pytest.raises(ConfigError, match=r"base\.labels is missing, and data in format 'csv' does not name"):
        loader(config(tmp_path, TEXTS), ())


def test_an_unknown_split_and_a_single_group_are_refused(tmp_path: Path) -> None:
    path = posts(tmp_path)
    path.write_text(path.read_text().replace("group", "split"))
    with pytest.raises(DataError, match=r"row 1 \(line 2\): split 'a' is not known; use train, val or test"):
        open_source(config(tmp_path, TEXTS))
    path.write_text("text,toxic,group\none,0,a\ntwo,1,a\n")
    with pytest.raises(DataError, match="fairness needs two"):
        loader(config(tmp_path, TEXTS.replace('group_words = ["woman", "girl*"]', 'group = "group"')))


def test_a_datasets_folder_of_texts_with_its_own_splits(tmp_path: Path, text_model: FrozenClassifier) -> None:
    texts = [f"{who} {number}" for number, who in enumerate(["the man", "a woman", "the cat", "a dog"] * 5)]
    whole = datasets.Dataset.from_dict({"text": texts, "toxic": [0, 1] * 10, "sex": ["m", "f"] * 10})
    features = {
        "train": whole.select(range(12)),
        "validation": whole.select(range(12, 16)),
        "test": whole.select([16, 17]),
    }
    datasets.DatasetDict(features).save_to_disk(tmp_path / "posts")
    text = TEXTS.replace('group_words = ["woman", "girl*"]', 'group = "sex"').replace('"csv"', '"datasets"')
    data = loader(config(tmp_path, text, "data.path=posts"))
    assert {part: len(rows) for part, rows in data.plan.rows.items()} == {"test": 2, "val": 4, "tuning": 3, "base": 8}
    assert data.raw("test") == [("row 17", "the man 16"), ("row 18", "a woman 17")]
    assert data.load(text_model, "val").counts() == {("f", 1): 2, ("m", 0): 2}
    assert data.source.stamp(0) is None


def test_a_datasets_folder_of_images(tmp_path: Path, image_model: FrozenClassifier) -> None:
    draw = random.Random(0)
    files = [{"bytes": faces.jpeg(draw, number % 2 == 0, False), "path": None} for number in range(20)]
    columns = {"image": files, "label": [0, 1] * 10, "group": [None, *["x", "y"] * 9, "x"]}
    features = datasets.Features(
        image=datasets.Image(), label=datasets.ClassLabel(names=["plain", "attractive"]), group=datasets.Value("string")
    )
    datasets.Dataset.from_dict(columns, features=features).save_to_disk(tmp_path / "faces")
    text = CELEBA.replace('"celeba"\n', '"datasets"\n', 1).replace('path = "celeba"', 'path = "faces"')
    text = text.replace("Attractive", "label").replace("Male", "group")
    data = loader(config(tmp_path, text, "data.missing_group=drop"), image_model.labels)
    test = data.load(image_model, "test")
    assert isinstance(test.inputs, Tensor)
    raw = data.raw("test")[0][1]
    assert raw == files[int(test.ids[0].removeprefix("row ")) - 1]["bytes"]
    with pytest.raises(DataError, match=r"not images; set data\.input"):
        open_source(config(tmp_path, text, "data.input=label"))


def test_a_folder_that_datasets_did_not_write_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    text = TEXTS.replace('"csv"', '"datasets"')
    with pytest.raises(DataError, match="is no folder written by"):
        open_source(config(tmp_path, text, "data.path=empty"))


def test_without_the_datasets_package_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)  # what Python itself does for a package that is not there
    with pytest.raises(ConfigError, match=r'pip install "fairtrigger\[datasets\]"'):
        open_source(config(tmp_path, TEXTS.replace('"csv"', '"datasets"')))
