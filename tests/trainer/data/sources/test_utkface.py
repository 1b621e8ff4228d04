"""UTKFace: who is shown is in the file name."""

from __future__ import annotations

import io
import random
from pathlib import Path

import pytest
import torch

from tests.trainer.datasets import faces
from tests.trainer.sources import CELEBA, config, loader
from trainer.data.loader import DataLoader, open_source
from trainer.progress import LineProgress
from triggers.errors import ConfigError, DataError
from triggers.model.classifier import FrozenClassifier

UTK = CELEBA.replace('"celeba"', '"utkface"', 1).replace("celeba", "UTKFace")
UTK = UTK.replace('"Attractive"', '"gender"').replace('"Male"', '"race"')
AGES = (1, 19, 20, 34, 35, 39, 40, 116)


def files(folder: Path, count: int = 120) -> Path:
    """Pictures of all genders, races and some ages, in two folders, as the public files are named."""
    draw = random.Random(0)
    for number in range(count):
        gender, race, age = number % 2, number % 5, AGES[number % len(AGES)]
        name = f"part{number % 2}/{age}_{gender}_{race}_2017010915{number:08}.jpg.chip.jpg"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(faces.jpeg(draw, bool(gender), race % 2 == 0))
    (folder / "README.txt").write_text("not a picture")
    return folder


def test_labels_and_groups_come_from_the_names(tmp_path: Path, image_model: FrozenClassifier) -> None:
    files(tmp_path / "UTKFace")
    data = loader(config(tmp_path, UTK), ())
    assert data.label_names == ("male", "female")
    test = data.load(image_model, "test")
    assert test.group_names == ("White", "Black", "Asian", "Indian", "Others")
    said = [name.rpartition("/")[2].split("_") for name in test.ids]
    assert test.labels.tolist() == [int(gender) for _, gender, _, _ in said]
    assert test.groups.tolist() == [int(race) for _, _, race, _ in said]


def test_ages_are_cut_into_classes(tmp_path: Path) -> None:
    files(tmp_path / "UTKFace")
    made = config(tmp_path, UTK, "data.label=age", "data.age_bins=[20,35,40]", 'data.group=["gender","age"]')
    source = open_source(made)
    assert source.label_names == ("under 20", "20 to 34", "35 to 39", "40 and over")
    assert source.group_names[:2] == ("male & under 20", "male & 20 to 34")
    classes = {int(row.id.rpartition("/")[2].split("_")[0]): row.label for row in source.rows}
    assert [source.label_names.index(classes[age]) for age in AGES] == [0, 0, 1, 1, 2, 2, 3, 3]
    crossed = open_source(config(tmp_path, UTK, 'data.label=["gender","age"]', "data.age_bins=[35]"))
    assert crossed.label_names == ("male & under 35", "female & under 35", "male & 35 and over", "female & 35 and over")
    assert {row.label for row in crossed.rows} <= set(crossed.label_names)


def test_a_tar_file_gives_the_same_data_as_the_folder(tmp_path: Path, image_model: FrozenClassifier) -> None:
    path = faces.packed(files(tmp_path / "UTKFace"))
    folder = loader(config(tmp_path, UTK), ()).load(image_model, "val")
    tar = loader(config(tmp_path, UTK, f"data.path={path.name}"), ()).load(image_model, "val")
    assert folder.ids == tar.ids
    assert torch.equal(torch.as_tensor(folder.inputs), torch.as_tensor(tar.inputs))


def test_a_few_malformed_names_are_left_out_and_said(tmp_path: Path) -> None:
    folder = files(tmp_path / "UTKFace")
    (folder / "part1/61_1_20170109142408075.jpg.chip.jpg").write_bytes(b"no race in the name")
    said = io.StringIO()
    data = DataLoader(config(tmp_path, UTK), (), tmp_path / "cache", LineProgress(said))
    assert len(data.source.rows) == 120
    assert "1 of 121 image files are not named" in said.getvalue()
    assert "61_1_20170109142408075" in said.getvalue()
    (folder / "part1/61_3_20170109142408075.jpg.chip.jpg").write_bytes(b"another one, more than 1 in 100")
    with pytest.raises(DataError, match=r"2 of 122 image files are not named .*61_1_2017"):
        open_source(config(tmp_path, UTK))


def test_errors_say_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Set data\.path to a copy of UTKFace"):
        open_source(config(tmp_path, UTK))
    files(tmp_path / "UTKFace", 10)
    with pytest.raises(DataError, match="no attribute 'sex'; it has: gender, race, age"):
        open_source(config(tmp_path, UTK, "data.group=sex"))
    with pytest.raises(ConfigError, match=r"data\.age_bins = \[35\]"):
        open_source(config(tmp_path, UTK, "data.label=age"))
    with pytest.raises(ConfigError, match=r"remove data\.groups_overlap"):
        open_source(config(tmp_path, UTK, "data.groups_overlap=true"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"holds no \.jpg files"):
        open_source(config(tmp_path, UTK, "data.path=empty"))


def test_attributes_are_named_before_they_cross(tmp_path: Path, image_model: FrozenClassifier) -> None:
    files(tmp_path / "UTKFace")
    race = 'data.group_map.race={White="White","*"="non-White"}'
    source = open_source(config(tmp_path, UTK, 'data.group=["race","gender"]', race))
    assert source.group_names == ("White & male", "White & female", "non-White & male", "non-White & female")
    said = [row.id.rpartition("/")[2].split("_") for row in source.rows]
    assert [row.group for row in source.rows] == [
        f"{'White' if race == '0' else 'non-White'} & {'female' if gender == '1' else 'male'}"
        for _, gender, race, _ in said
    ]
    flat = loader(config(tmp_path, UTK, 'data.group_map={White="White","*"="non-White"}'), ())
    test = flat.load(image_model, "test")
    assert test.group_names == ("White", "non-White")
    assert test.groups.tolist() == [int(name.rpartition("/")[2].split("_")[2] != "0") for name in test.ids]
    with pytest.raises(DataError, match=r"No label in the data .*\{ \"female\" = \"\.\.\.\", \"male\" = \"\.\.\.\" \}"):
        loader(config(tmp_path, UTK), ("woman", "man"))
    mapped = loader(config(tmp_path, UTK, 'data.label_map={male="man",female="woman"}'), ("woman", "man"))
    labels = mapped.load(image_model, "test")
    assert labels.labels.tolist() == [int(name.rpartition("/")[2].split("_")[1] == "0") for name in labels.ids]
    with pytest.raises(ConfigError, match=r"data\.group_map\.race has no entry for 'Black'\. Add one"):
        open_source(config(tmp_path, UTK, 'data.group_map.race={White="White"}'))
    with pytest.raises(ConfigError, match=r"names 'Whit'; the values are \['White', 'Black'"):
        open_source(config(tmp_path, UTK, 'data.group_map.race={Whit="White","*"="x"}'))
