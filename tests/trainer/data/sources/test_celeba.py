"""CelebA's own layout, as a folder, as a tar file, and the real sample."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.real_data import SHARED, need
from tests.trainer.datasets import faces
from tests.trainer.sources import CELEBA, config, loader
from trainer.data.loader import open_source
from triggers.errors import ConfigError, DataError
from triggers.model.classifier import FrozenClassifier
from triggers.preprocessing.image_spec import ImageSpec
from triggers.preprocessing.preprocess import decode_image

SAMPLE = "data/celeba10k.tar"
EIGHT = ("Blond_Hair", "Smiling", "Attractive")


def test_celeba_reads_labels_groups_and_partition(tmp_path: Path, image_model: FrozenClassifier) -> None:
    faces.celeba(tmp_path / "celeba")
    splits = loader(config(tmp_path, CELEBA, "split.base=20")).splits(image_model)
    assert (len(splits.tuning), len(splits.val), len(splits.test)) == (40, 20, 20)
    assert splits.test.group_names == ("not Male", "Male")
    assert splits.test.ids[0] == "000081.jpg"
    rows = [line.split() for line in (tmp_path / "celeba/list_attr_celeba.txt").read_text().splitlines()[2:]]
    truth = {row[0]: (int(row[1] == "1"), int(row[2] == "1")) for row in rows}
    found = zip(splits.test.labels.tolist(), splits.test.groups.tolist(), strict=True)
    assert [truth[name] for name in splits.test.ids] == list(found)


def test_a_tar_file_gives_the_same_data_as_the_folder(tmp_path: Path, image_model: FrozenClassifier) -> None:
    path = faces.packed(faces.celeba(tmp_path / "celeba"))
    folder = loader(config(tmp_path, CELEBA)).load(image_model, "tuning")
    tar = loader(config(tmp_path, CELEBA, f"data.path={path.name}")).load(image_model, "tuning")
    assert folder.ids == tar.ids
    assert torch.equal(folder.labels, tar.labels)
    assert torch.equal(torch.as_tensor(folder.inputs), torch.as_tensor(tar.inputs))


def test_a_compressed_tar_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = faces.packed(faces.celeba(tmp_path / "celeba"), mode="w:gz")
    with pytest.raises(DataError, match=r"celeba\.tar is compressed with gzip; unpack it"):
        open_source(config(tmp_path, CELEBA, f"data.path={path.name}"))


def test_several_attributes_cross_into_groups(tmp_path: Path) -> None:
    faces.celeba(tmp_path / "celeba")
    data = loader(config(tmp_path, CELEBA, 'data.group=["Male","Young"]'))
    crossed = ("not Male & not Young", "not Male & Young", "Male & not Young", "Male & Young")
    assert data.source.group_names == crossed
    assert {row.group for row in data.source.rows} == set(crossed)


def test_several_attributes_are_one_label_whose_first_one_is_bit_0(
    tmp_path: Path, image_model: FrozenClassifier
) -> None:
    faces.celeba(tmp_path / "celeba")
    data = loader(config(tmp_path, CELEBA, 'data.label=["Attractive","Young"]'), ())
    assert data.label_names == ("none", "Attractive", "Young", "Attractive & Young")
    test = data.load(image_model, "test")
    rows = [line.split() for line in (tmp_path / "celeba/list_attr_celeba.txt").read_text().splitlines()[2:]]
    truth = {row[0]: (row[1] == "1") + 2 * (row[3] == "1") for row in rows}
    assert test.labels.tolist() == [truth[name] for name in test.ids]
    assert set(test.labels.tolist()) == {0, 1, 2, 3}
    named = loader(config(tmp_path, CELEBA, 'data.label=["Attractive","Young"]'), ("a", "b", "c", "d"))
    assert named.load(image_model, "test").labels.tolist() == test.labels.tolist()
    with pytest.raises(DataError, match="No label in the data is one of the classifier's labels"):
        loader(config(tmp_path, CELEBA, 'data.label=["Attractive","Young"]'))


def test_attributes_may_be_groups_that_overlap(tmp_path: Path) -> None:
    faces.celeba(tmp_path / "celeba")
    source = open_source(config(tmp_path, CELEBA, 'data.group=["Young","Male"]', "data.groups_overlap=true"))
    assert source.group_names == ("Young", "Male")
    rows = [line.split() for line in (tmp_path / "celeba/list_attr_celeba.txt").read_text().splitlines()[2:]]
    written = {("1", "1"): "Young + Male", ("1", "-1"): "Male", ("-1", "1"): "Young", ("-1", "-1"): "none"}
    assert [row.group for row in source.rows] == [written[row[2], row[3]] for row in rows]


def test_kaggles_copy_is_read_like_the_original(tmp_path: Path) -> None:
    folder = faces.celeba(tmp_path / "celeba")
    original = open_source(config(tmp_path, CELEBA))
    files = [original.read(row) for row in range(len(original.rows))]
    for name, header in (
        ("list_attr_celeba", "image_id,Attractive,Male,Young"),
        ("list_eval_partition", "image_id,partition"),
    ):
        lines = (folder / f"{name}.txt").read_text().splitlines()[2 * (name == "list_attr_celeba") :]
        (folder / f"{name}.csv").write_text("\n".join([header, *(",".join(line.split()) for line in lines)]))
        (folder / f"{name}.txt").unlink()
    (folder / "img_align_celeba").rename(folder / "inner")
    (folder / "img_align_celeba").mkdir()
    (folder / "inner").rename(folder / "img_align_celeba" / "img_align_celeba")
    for path in ("celeba", faces.packed(folder).name):
        kaggle = open_source(config(tmp_path, CELEBA, f"data.path={path}"))
        assert kaggle.rows == original.rows
        assert [kaggle.read(row) for row in range(len(kaggle.rows))] == files
    (folder / "list_eval_partition.csv").write_text("image_id,partition\n000001.jpg,7\n")
    with pytest.raises(DataError, match=r"list_eval_partition\.csv, line 2: expected a file name and 0, 1 or 2"):
        open_source(config(tmp_path, CELEBA))


def test_celeba_errors_name_the_place(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Set data\.path to a copy of CelebA"):
        open_source(config(tmp_path, CELEBA))
    folder = faces.celeba(tmp_path / "celeba")
    with pytest.raises(DataError, match="no attribute 'Mael'; did you mean 'Male'"):
        open_source(config(tmp_path, CELEBA, "data.group=Mael"))
    with pytest.raises(ConfigError, match=r"celeba.*holds images"):
        open_source(config(tmp_path, CELEBA, "trigger.kind=soft"))
    lines = (folder / "list_attr_celeba.txt").read_text().splitlines()
    (folder / "list_attr_celeba.txt").write_text("\n".join([*lines[:5], "000004.jpg 1 0 1", *lines[6:]]))
    with pytest.raises(DataError, match="line 6: expected a file name and 3 values of -1 or 1"):
        open_source(config(tmp_path, CELEBA))
    (folder / "list_attr_celeba.txt").write_text("\n".join(lines))
    (folder / "list_eval_partition.txt").write_text("000001.jpg 0\n000002.jpg 7\n")
    with pytest.raises(DataError, match="line 2: expected a file name and 0, 1 or 2"):
        open_source(config(tmp_path, CELEBA))
    (folder / "list_eval_partition.txt").write_text("000001.jpg 0\n")
    with pytest.raises(DataError, match=r"no row for 000002\.jpg"):
        open_source(config(tmp_path, CELEBA))


def test_the_real_sample_reads_straight_from_its_tar(tmp_path: Path) -> None:
    need(SAMPLE)
    made = config(tmp_path, CELEBA, f"data.path={SHARED / SAMPLE}", 'data.group_names=["female","male"]')
    source = open_source(made)
    assert len(source.rows) == 10_000
    women = [row.label == "Attractive" for row in source.rows if row.group == "not Male"]
    assert sum(women) / len(women) == pytest.approx(0.687, abs=0.001)
    assert [row.pool for row in source.rows].count("train") == 7000
    several = open_source(config(tmp_path, CELEBA, f"data.path={SHARED / SAMPLE}", f"data.label={list(EIGHT)}"))
    assert several.label_names[:4] == ("none", "Blond_Hair", "Smiling", "Blond_Hair & Smiling")
    assert (len(several.label_names), several.label_names[7]) == (8, "Blond_Hair & Smiling & Attractive")
    assert {row.label for row in several.rows} == set(several.label_names)
    spec = ImageSpec.square(size=32, mean=(0.5,) * 3, std=(0.25,) * 3)
    raw = source.read(0)
    assert isinstance(raw, bytes)
    assert decode_image(raw, spec).shape == (3, 32, 32)
