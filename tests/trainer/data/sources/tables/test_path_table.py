"""Labels, groups and splits out of the paths of images and texts, in folders and tar files."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.datasets import faces
from tests.trainer.sources import CELEBA, TEXTS, config, loader
from trainer.data.loader import open_source
from trainer.data.sources.tables.path_pattern import PathPattern
from triggers.errors import ConfigError, DataError
from triggers.model.classifier import FrozenClassifier

FACES = CELEBA.replace('"celeba"\n', '"files"\n', 1).replace('path = "celeba"', 'path = "faces"')
FACES = FACES.replace('"Attractive"', '"label"').replace('"Male"', '"sex"')
REVIEWS = TEXTS.replace('"csv"', '"files"').replace("posts.csv", "reviews").replace('"toxic"', '"label"')
REVIEWS = REVIEWS.replace("[trigger]", 'columns_from_path = "{split}/{label:neg|pos}/*"\n[trigger]')
WORDS = st.text(st.sampled_from("abcé- "), min_size=1).filter(lambda word: word == word.strip())


@given(WORDS, WORDS, WORDS)
def test_a_column_ends_where_the_pattern_goes_on(split: str, label: str, group: str) -> None:
    pattern = PathPattern("{split}/{label}_{group}_*.jpg")
    assert pattern.names == ("split", "label", "group")
    assert pattern.columns(f"{split}/{label}_{group}_x_1.jpg") == {"split": split, "label": label, "group": group}
    assert pattern.columns(f"{split}/{label}_x.jpg") is None
    assert pattern.columns(f"{split}/more/{label}_{group}_1.jpg") is None
    assert PathPattern(f"{{label:{label}|other}}/*").columns(f"{label}s/1") is None


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("*/*.jpg", "it names no {column}"),
        ("{label}/{label}/*", "a column is there twice"),
        ("{label/*", "'{' has no meaning there"),
    ],
)
def test_patterns_that_mean_nothing_are_refused(tmp_path: Path, pattern: str, problem: str) -> None:
    faces.celeba(tmp_path / "faces", 2, 1, 1)
    with pytest.raises(ConfigError, match=rf"data\.columns_from_path is .*{re.escape(problem)}"):
        open_source(config(tmp_path, FACES, f'data.columns_from_path="{pattern}"'))


def test_a_folder_and_a_tar_of_images_sorted_into_folders(tmp_path: Path, image_model: FrozenClassifier) -> None:
    draw = random.Random(0)
    for number in range(40):
        label, sex = ("plain", "attractive")[number % 2], ("women", "men")[number % 3 == 0]
        folder = tmp_path / "faces" / ("train", "train", "val", "test")[number // 10] / label
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{sex}_{number}.JPG").write_bytes(faces.jpeg(draw, number % 2 == 1, number % 3 == 0))
    (tmp_path / "faces" / "readme.txt").write_text("nothing")
    (tmp_path / "faces" / "train" / "plain" / "._women_1.jpg").write_text("a Mac's")
    (tmp_path / "faces" / "train" / "cover.jpg").write_text("not of the pattern")
    made = config(tmp_path, FACES, 'data.columns_from_path="{split}/{label}/{sex}_*"')
    data = loader(made, image_model.labels)
    assert data.source.notes == (
        "data: 1 of 41 image files are not of data.columns_from_path, for example 'train/cover.jpg', and were left out",
    )
    test = data.load(image_model, "test")
    assert test.ids[:2] == ("test/attractive/men_33.JPG", "test/attractive/men_39.JPG")
    assert test.counts() == {("men", 0): 2, ("men", 1): 2, ("women", 0): 3, ("women", 1): 3}
    assert {part: len(rows) for part, rows in data.plan.rows.items()} == {
        "test": 10,
        "val": 10,
        "tuning": 5,
        "base": 14,
    }
    tar = faces.packed(tmp_path / "faces")
    overrides = [f"data.path={tar.name}", 'data.columns_from_path="faces/{split}/{label}/{sex}_*"']
    packed = loader(config(tmp_path, FACES, *overrides), image_model.labels)
    assert packed.contents("test") == data.contents("test")
    assert packed.counts("test") == data.counts("test")


def test_one_review_a_file_as_aclimdb_has_them(tmp_path: Path) -> None:
    for number in range(40):
        for split, label in (("train", "pos"), ("train", "neg"), ("train", "unsup"), ("test", "pos"), ("test", "neg")):
            path = tmp_path / "reviews" / split / label / f"{number}_7.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            who = ("a woman", "a man")[number % 2]
            path.write_text(f"\ufeff{who} in {split} {label} {number}\n")
    made = config(tmp_path, REVIEWS)
    data = loader(made, ("neg", "pos"))
    assert len(data.source.rows) == 160
    assert data.counts("test") == {(name, label): 20 for name in ("mentioned", "not mentioned") for label in (0, 1)}
    row = next(row for row, each in enumerate(data.source.rows) if each.id == "test/pos/3_7.txt")
    assert data.source.read(row) == "a man in test pos 3\n"
    bad = tmp_path / "reviews/test/pos/3_7.txt"
    bad.write_bytes(b"caf\xe9")
    with pytest.raises(DataError, match=r"test/pos/3_7\.txt is not in utf-8 .*data\.encoding"):
        open_source(config(tmp_path, REVIEWS))
    assert open_source(config(tmp_path, REVIEWS, "data.encoding=cp1252")).read(row) == "café"


def test_a_pattern_that_no_file_is_of_is_refused_with_a_file(tmp_path: Path) -> None:
    faces.celeba(tmp_path / "faces", 2, 1, 1)
    with pytest.raises(
        DataError, match=r"holds 4 image files, for example 'img_align_celeba/000001\.jpg', and none whose"
    ):
        open_source(config(tmp_path, FACES, 'data.columns_from_path="{label}/{sex}/*"'))
    with pytest.raises(ConfigError, match=r"needs data\.columns_from_path"):
        config(tmp_path, FACES)
