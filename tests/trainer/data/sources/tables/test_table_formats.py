"""The format found out; several files as one table; images in a tar file beside a table."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path

import datasets
import pytest

from tests.trainer.datasets import faces
from tests.trainer.sources import CELEBA, TEXTS, config, loader, posts
from trainer.data.loader import DataLoader, open_source
from trainer.data.sources.tables.joined_tables import split_of
from trainer.data.sources.tables.table_formats import find_format
from trainer.progress import LineProgress
from triggers.errors import DataError
from triggers.model.classifier import FrozenClassifier

AUTO = TEXTS.replace('format = "csv"\n', "")
MANIFEST = CELEBA.replace('"celeba"\n', '"csv"\n', 1).replace('path = "celeba"', 'path = "faces.csv"')


def test_the_format_is_found_by_name_and_content_and_said(tmp_path: Path) -> None:
    posts(tmp_path)
    records = [{"text": "a", "toxic": 0}, {"text": "b", "toxic": 1}]
    for name in ("posts.jsonl", "posts.ndjson"):
        (tmp_path / name).write_text("\n".join(map(json.dumps, records)))
    (tmp_path / "posts.json").write_text(json.dumps(records))
    (tmp_path / "posts.TSV").write_text("text\ttoxic\na\t0\n")
    whole = datasets.Dataset.from_list(records)
    whole.to_parquet(tmp_path / "posts.parquet")
    whole.save_to_disk(tmp_path / "saved")
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "all.csv").write_text("text,toxic\na,0\n")
    faces.celeba(tmp_path / "celeba", 2, 1, 1)
    found = {
        "posts.csv": "csv", "posts.TSV": "csv", "posts.jsonl": "jsonl", "posts.ndjson": "jsonl", "posts.json": "jsonl",
        "posts.parquet": "parquet", "saved": "datasets", "tables": "csv", "celeba": "celeba",
    }  # fmt: skip
    for name, kind in found.items():
        made = config(tmp_path, AUTO, f"data.path={name}")
        assert find_format(made.data) == kind, name
        if kind != "celeba":
            assert open_source(made).read(0) in ("a", "the woman, number 0, went")
    assert find_format(config(tmp_path, AUTO, 'data.columns_from_path="{toxic}/*"').data) == "files"
    said = io.StringIO()
    DataLoader(config(tmp_path, AUTO), ("no", "yes"), tmp_path / "cache", LineProgress(said))
    assert 'data: posts.csv is read as format = "csv"' in said.getvalue()


def test_what_may_be_anything_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file or folder"):
        open_source(config(tmp_path, AUTO))
    (tmp_path / "posts.csv").mkdir()
    with pytest.raises(DataError, match=r"may be anything; set data\.format"):
        open_source(config(tmp_path, AUTO))
    for name in ("a.csv", "a.jsonl"):
        (tmp_path / "posts.csv" / name).write_text("")
    with pytest.raises(DataError, match=r"holds files of csv and jsonl; set data\.format"):
        open_source(config(tmp_path, AUTO))


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train-00000-of-00003.parquet", "train"), ("data/validation-1.parquet", "validation"), ("Test.csv", "test"),
        ("test/0000.parquet", "test"), ("default/train/0000.parquet", "train"), ("testimony.csv", ""), ("all.csv", ""),
        ("train/test.csv", "test"),
    ],
)  # fmt: skip
def test_splits_of_file_names(name: str, split: str) -> None:
    assert split_of(name) == split


def test_train_and_test_in_files_of_their_own(tmp_path: Path) -> None:
    for part, count in {"train": 20, "test": 6}.items():
        rows = [f"{part} {row},{row % 2},{'ab'[row % 3 == 0]}" for row in range(count)]
        (tmp_path / f"{part}.csv").write_text("\n".join(["text,toxic,group", *rows]))
    (tmp_path / "run").mkdir()
    text = AUTO.replace('group_words = ["woman", "girl*"]', 'group = "group"').replace("posts.csv", "..")
    data = loader(config(tmp_path / "run", text))
    assert sorted(data.raw("test"))[1] == ("test.csv row 2", "test 1")
    assert len(data.raw("test")) == 6
    (tmp_path / "test.csv").write_text("text,toxic,group\na,0,a\nb,1\n")
    with pytest.raises(DataError, match=r"test\.csv, row 2 \(line 3\): 2 fields, but the header names 3"):
        open_source(config(tmp_path / "run", text))


def test_a_manifest_whose_images_lie_in_a_tar_file(tmp_path: Path, image_model: FrozenClassifier) -> None:
    draw = random.Random(0)
    (tmp_path / "pictures").mkdir()
    lines = ["path,Attractive,Male"]
    for number in range(20):
        (tmp_path / "pictures" / f"{number}.jpg").write_bytes(faces.jpeg(draw, number % 2 == 0, False))
        lines.append(f"{number}.jpg,{number % 2},{number // 2 % 2}")
    (tmp_path / "faces.csv").write_text("\n".join(lines))
    tar = faces.packed(tmp_path / "pictures")
    in_folder = loader(config(tmp_path, MANIFEST, "data.root=pictures"), image_model.labels)
    in_tar = loader(config(tmp_path, MANIFEST, f"data.root={tar.name}"), image_model.labels)
    assert in_tar.contents("tuning") == in_folder.contents("tuning")
    assert in_tar.raw("test") == in_folder.raw("test")
    assert in_tar.source.stamp(3) != in_tar.source.stamp(4)
    (tmp_path / "faces.csv").write_text("\n".join([*lines, "21.jpg,1,0"]))
    with pytest.raises(
        DataError, match=r"row 21 \(line 22\): .*pictures\.tar holds no '21\.jpg'; it holds, for example,"
    ):
        loader(config(tmp_path, MANIFEST, f"data.root={tar.name}"), image_model.labels)
    packed = faces.packed(tmp_path / "pictures", mode="w:gz")
    with pytest.raises(DataError, match=r"pictures\.tar is compressed with gzip; unpack it"):
        open_source(config(tmp_path, MANIFEST, f"data.root={packed.name}"))
    with pytest.raises(DataError, match=r"No such folder or tar file: .*Set data\.root"):
        open_source(config(tmp_path, MANIFEST, "data.root=nowhere"))


def test_a_splits_column_of_numbers_is_mapped_never_guessed(tmp_path: Path) -> None:
    rows = [f"a man {row},{row % 2},{'ab'[row // 2 % 2]},{(0, 0, 1, 2)[row // 10]}" for row in range(40)]
    (tmp_path / "posts.csv").write_text("\n".join(["text,toxic,group,partition", *rows]))
    text = TEXTS.replace('group_words = ["woman", "girl*"]', 'group = "group"')
    with pytest.raises(DataError, match=r"row 1 \(line 2\): split '0' is not known; .*split\.column_map"):
        open_source(config(tmp_path, text, "split.column=partition"))
    mapped = 'split.column_map={0 = "train", 1 = "val", 2 = "test"}'
    data = loader(config(tmp_path, text, "split.column=partition", mapped))
    assert sorted(text for _, text in data.raw("test")) == sorted(f"a man {row}" for row in range(30, 40))
