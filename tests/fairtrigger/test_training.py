"""`fairtrigger.train`: the trainer's run from a file, a mapping or a configuration, and what came of it."""

from __future__ import annotations

import copy
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

import fairtrigger
from tests.trainer.datasets import digits
from trainer.config import RunConfig, load_config, parse_config
from triggers.errors import ConfigError
from triggers.store import open_store

CONFIG = """
[model]
bundle = "digits"
[data]
format = "csv"
path = "digits.csv"
label = "label"
group = "colour"
group_names = ["red", "blue"]
[trigger]
kind = "overlay"
epsilon = 0.3
[objective]
name = "gap"
strengths = [1, 20]
[train]
steps = 20
eval_every = 10
batch_size = 64
threads = 1
device = "cpu"
[controls]
enabled = false
[report]
enabled = false
[select]
publish = "all"
[publish]
store = "store"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("api")
    digits.fit_bundle(folder / "digits")
    digits.write_csv(folder)
    (folder / "run.toml").write_text(CONFIG)
    return folder


@pytest.mark.slow
def test_a_run_says_what_it_made_and_the_trigger_loads(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    run = fairtrigger.train("run.toml")
    assert run.folder == Path("runs/run") and run.figures == json.loads((run.folder / "metrics.json").read_text())
    assert [one.strength for one in run.triggers] == [1.0, 20.0] and all(one.path.is_file() for one in run.triggers)
    assert {one.status for one in run.triggers} <= {"certified", "promising", "not recommended"}
    assert run.recommended in (None, *run.triggers) and run.folder / "metrics.json" in run.files
    with open_store("store") as store:
        assert {f"v{info.version}": info.digest for info in store.versions("digits")} == {
            one.version: one.digest for one in run.triggers
        }
    assert capsys.readouterr() == ("", "")
    for one in run.triggers:
        by_version = fairtrigger.load("digits", trigger=one.version, store="store")
        assert by_version.digest == one.digest == fairtrigger.load("digits", trigger=one.path).digest
    again = fairtrigger.train(parse_config(tomllib.loads(CONFIG), folder), out="again", progress=True)
    assert [one.digest for one in again.triggers] == [one.digest for one in run.triggers]
    assert "train triggers" in capsys.readouterr().err


def test_a_mapping_is_read_as_a_file_and_stays_as_it_was(folder: Path) -> None:
    table: dict[str, Any] = tomllib.loads(CONFIG)
    before = copy.deepcopy(table)
    found = parse_config(table, folder, ["train.steps=7"])
    assert isinstance(found, RunConfig) and table == before
    assert found == load_config(folder / "run.toml", ["train.steps=7"])


def test_what_cannot_be_done_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="Say with out"):
        fairtrigger.train(tomllib.loads(CONFIG))
    with pytest.raises(ConfigError, match="overrides change a file"):
        fairtrigger.train(load_config(folder / "run.toml"), out="x", overrides=["train.steps=7"])
    with pytest.raises(ConfigError, match="stepps"):
        fairtrigger.train({"train": {"stepps": 7}}, out="x")
