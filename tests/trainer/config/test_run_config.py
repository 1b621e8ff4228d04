"""The configuration: read strictly, with errors that name the place and the remedy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trainer.config.example_config import EXAMPLE_CONFIG
from trainer.config.run_config import ObjectiveConfig, RunConfig, TriggerConfig, load_config, to_dict
from triggers.errors import ConfigError

MINIMAL = """
[model]
bundle = "model"
[data]
format = "csv"
path = "rows.csv"
label = "label"
group = "group"
[trigger]
kind = "overlay"
"""


def load(folder: Path, text: str = MINIMAL, *overrides: str) -> RunConfig:
    path = folder / "run.toml"
    path.write_text(text)
    return load_config(path, overrides)


def test_a_minimal_file_is_enough(tmp_path: Path) -> None:
    config = load(tmp_path)
    assert config.data.path == tmp_path / "rows.csv"
    assert config.data.group == ("group",)
    assert config.base is None
    assert config.modality == "image"


def test_the_printed_example_is_a_valid_configuration(tmp_path: Path) -> None:
    config = load(tmp_path, EXAMPLE_CONFIG)
    assert config.base is not None
    assert config.objective.strengths == "auto"
    assert config.publish.store == "fairtrigger-store"


def test_overrides_are_toml_values_and_bare_words_are_strings(tmp_path: Path) -> None:
    overrides = (
        "objective.strengths=[1,5,20]",
        "train.lr = 1",
        "objective.projection=false",
        "objective.name=gap",
        'data.label="other label"',
        "split.test=0.25",
        "split.base=100",
    )
    config = load(tmp_path, MINIMAL, *overrides)
    assert config.objective.strengths == (1.0, 5.0, 20.0)
    assert config.train.lr == 1.0
    assert config.objective.projection is False
    assert config.objective.name == "gap"
    assert config.data.label == ("other label",)
    assert (config.split.test, config.split.base) == (0.25, 100)


def test_the_last_override_wins(tmp_path: Path) -> None:
    assert load(tmp_path, MINIMAL, "train.steps=5", "train.steps=7").train.steps == 7


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trian.lr=1", "Unknown key 'trian'; did you mean 'train'"),
        ("track.mlfow=kept", "Unknown key 'track.mlfow'; did you mean 'mlflow'"),
        ("track.tensorboard=1", "track.tensorboard must be a string, not 1"),
        ("track.experiment=faces", "track.experiment has a meaning for track.mlflow only"),
        ("track.name=long", "give one of them"),
        ("objective.strenghts=[1]", "Unknown key 'objective.strenghts'; did you mean 'strengths'"),
        ("train.zzz=1", "Unknown key 'train.zzz'; known here: epochs"),
        ("root=elsewhere", "Unknown key 'root'"),
        ("train.lr=fast", "train.lr must be a number, not 'fast' \\(a string\\)"),
        ("train.lr=nan", "train.lr must be a number, not nan"),
        ("train.steps=1.5", "train.steps must be a whole number, not 1.5"),
        ("train.steps=true", "train.steps must be a whole number, not True"),
        ("train.flip=1", "train.flip must be true or false, not 1"),
        ("objective.strengths=[1,'x']", "objective.strengths\\[1\\] must be a number"),
        ("objective.strengths=[1,5", 'must be a number, a list of numbers or "auto", not .\\[1,5'),
        ("objective.strengths=Auto", 'objective.strengths must be a number, a list of numbers or "auto", not .Auto'),
        ("objective.strengths=['auto']", "objective.strengths\\[0\\] must be a number, not 'auto'"),
        ("objective.strengths=true", "objective.strengths\\[0\\] must be a number, not True"),
        ("data.path=3", "data.path must be a string, not 3"),
        ("split.base=many", "split.base must be a whole number or a number"),
        ("trigger.kind=overly", "did you mean 'overlay'"),
        ("train=3", "train is a section of keys, not 3"),
        ("train.lr.x=3", "train.lr"),
        ("train.lr", "write it like --set train.steps=200"),
        ("=3", "write it like"),
    ],
)
def test_a_wrong_key_or_type_is_refused_with_its_place(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, MINIMAL + "\n[train]\nlr = 0.1\n", override)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trigger.width=3", "trigger.width has no meaning for kind 'overlay'"),
        ("trigger.fit=cover", "trigger.fit has no meaning for kind 'overlay'; remove it"),
        ("trigger.fit=shrink", "trigger.fit has no meaning for kind 'overlay'; remove it"),
        ("trigger.fit=stretch", "trigger.fit is 'stretch' .a string.; choose 'shrink' or 'cover'"),
        ("trigger.kind=border", "needs trigger.width, in pixels"),
        ("trigger.epsilon=-0.1", "trigger.epsilon is -0.1; it must be more than 0"),
        ("train.batch_size=0", "train.batch_size is 0; it must be more than 0"),
        ("objective.strengths=[]", "objective.strengths is \\[\\]"),
        ("objective.strengths=[1,1]", "give different numbers"),
        ("objective.strengths=[-1]", "0 or more"),
        ("data.group=[]", "exactly one of data.group"),
        ('data.group_words=["a"]', "exactly one of data.group"),
        ('data.group_names=["a","a"]', "data.group_names .* names a group twice"),
        ("baselines.strengths=[1,1]", "baselines.strengths is .* give different numbers"),
        ('baselines.systems=["adv_post","adv_post"]', "names a system twice"),
        ('baselines.systems=["adv_in"]', "trains from scratch: \\[base\\] must say"),
        ("baselines.lr=0", "baselines.lr is 0"),
        ("baselines.epsilon=0", "baselines.epsilon is 0; it must be more than 0"),
        ("controls.random=-1", "controls.random is -1"),
        ("controls.curve=0", "controls.curve is 0"),
        ("split.test=1.5", "split.test is 1.5"),
        ("split.val=-1", "split.val is -1"),
        ("report.rows=0", "report.rows is 0; it must be more than 0"),
        ("report.examples=-1", "report.examples is -1"),
        ("report.price_per_hour=-2.0", "report.price_per_hour is -2.0"),
        ("split.tuning_ratio=0.0", "split.tuning_ratio is 0.0"),
        ("split.tuning_ratio=1.5", "split.tuning_ratio is 1.5"),
        ("data.label=[]", "data.label is \\[\\]; name one"),
        ('data.label=["a","a"]', "or several different"),
        ("data.age_bins=[35]", "has a meaning for utkface only"),
        ("train.device_memory_gb=0", "train.device_memory_gb is 0"),
    ],
)
def test_a_value_out_of_range_is_refused(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, MINIMAL, override)


def test_faap_is_for_images(tmp_path: Path) -> None:
    assert load(tmp_path, MINIMAL, 'baselines.systems="faap"').baselines.systems == ("faap",)
    with pytest.raises(ConfigError, match='"faap", which changes pixels: leave it out for texts'):
        load(tmp_path, MINIMAL, 'baselines.systems="faap"', "trigger.kind=soft")


def test_resolution_has_a_meaning_for_overlays_only(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"trigger\.resolution has no meaning for kind 'border'"):
        load(tmp_path, MINIMAL, "trigger.kind=border", "trigger.width=3", "trigger.resolution=8")


@pytest.mark.parametrize("crop", ["0.5", "[0.0, 1.0]", "[0.5, 1.1]", "[0.9, 0.5]", "[0.3, 0.5, 1.0]", "[]"])
def test_crops_are_two_shares_of_the_area(tmp_path: Path, crop: str) -> None:
    with pytest.raises(ConfigError, match=r"base\.crop is \[.*; give the smallest and the largest share of the area"):
        load(tmp_path, MINIMAL + '\n[base]\nbuilder = "resnet18"\n', f"base.crop={crop}")


def test_texts_are_not_cropped(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"base\.crop has no meaning for texts; remove it"):
        load(tmp_path, MINIMAL + '\n[base]\nencoder = "minilm"\n', "base.crop=[0.5, 1.0]")


def test_ages_must_rise(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.age_bins is \[40, 20\]; it takes rising ages"):
        load(tmp_path, MINIMAL, "data.format=utkface", "data.age_bins=[40,20]")


def test_names_of_the_classes_may_come_from_the_data(tmp_path: Path) -> None:
    base = load(tmp_path, MINIMAL + '\n[base]\nbuilder = "resnet18"\npos_label = 2\n').base
    assert base and base.labels == ()
    assert base.named(("a", "b", "c")).labels == ("a", "b", "c")
    with pytest.raises(ConfigError, match=r"base.pos_label is 2, base.labels \['a', 'b'\]: no such label"):
        base.named(("a", "b"))


def test_epochs_and_steps_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not both"):
        load(tmp_path, MINIMAL, "train.epochs=3", "train.steps=3")


def test_words_cannot_group_images(tmp_path: Path) -> None:
    text = MINIMAL.replace('group = "group"', 'group_words = ["women"]')
    with pytest.raises(ConfigError, match="works on texts"):
        load(tmp_path, text)


def test_base_and_trigger_must_read_the_same_thing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="kind 'overlay' works on images, but \\[base\\] fits a text"):
        load(tmp_path, MINIMAL + '\n[base]\nlabels = ["a", "b"]\nencoder = "bert"\n')


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('labels = ["a"]\nbuilder = "resnet18"', "no such label"),
        ('labels = ["a", "b"]\npos_label = 2\nbuilder = "resnet18"', "no such label"),
        ('labels = ["a", "b"]', "exactly one of base.builder"),
        ('labels = ["a", "b"]\nbuilder = "resnet18"\nmean = [0.5]', "need 3 numbers each"),
        ('pos_label = -1\nbuilder = "resnet18"', "no such label"),
    ],
)
def test_a_base_section_that_cannot_work_is_refused(tmp_path: Path, lines: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, MINIMAL + f"\n[base]\n{lines}\n")


def test_a_missing_section_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="section \\[data\\] is missing"):
        load(tmp_path, '[model]\nbundle = "m"\n[trigger]\nkind = "overlay"\n')


def test_a_file_that_is_missing_or_no_toml_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Cannot read"):
        load_config(tmp_path / "nowhere.toml")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load(tmp_path, "[model")


def test_the_dumped_configuration_is_json_with_relative_paths(tmp_path: Path) -> None:
    folder = tmp_path / "configs"
    folder.mkdir()
    config = load(folder, MINIMAL, "data.path=../data/rows.csv", "objective.strengths=1")
    dumped = json.loads(json.dumps(to_dict(config)))
    assert dumped["data"]["path"] == "../data/rows.csv"
    assert dumped["objective"]["strengths"] == [1.0]
    assert to_dict(load(folder))["objective"]["strengths"] == "auto"
    assert str(tmp_path) not in json.dumps(dumped)
    assert "fit" not in dumped["trigger"]


def test_tracking_is_no_part_of_what_is_dumped(tmp_path: Path) -> None:
    config = load(tmp_path, MINIMAL, "track.mlflow=http://user:secret@host", "track.tensorboard=board")
    assert config.track.tensorboard == tmp_path / "board"
    assert to_dict(config) == to_dict(load(tmp_path))


def test_the_geometry_states_the_size_in_force() -> None:
    assert TriggerConfig("overlay").geometry() == {"epsilon": 32 / 255}
    assert TriggerConfig("patch", patch_size=4, corner="top_right").geometry() == {
        "patch_size": 4,
        "corner": "top_right",
    }
    assert TriggerConfig("soft").geometry() == {}
    assert TriggerConfig("border", width=3).geometry() == {"width": 3}
    assert TriggerConfig("border", width=3, fit="shrink").geometry() == {"width": 3}
    assert TriggerConfig("border", width=3, fit="cover").geometry() == {"width": 3, "fit": "cover"}


def test_a_removed_key_is_taken_where_it_changes_nothing(tmp_path: Path) -> None:
    assert load(tmp_path, MINIMAL, "train.bag=1") == load(tmp_path)
    with pytest.raises(ConfigError, match=r"train\.bag was removed: .* Leave it out"):
        load(tmp_path, MINIMAL, "train.bag=5")


def test_nothing_is_added_to_the_published_objective_unless_asked() -> None:
    objective = ObjectiveConfig()
    assert (objective.gap_weight, objective.reweigh, objective.temperature) == (0.0, False, 1.0)
