"""Whole runs of the real trainer: files in, artifacts and versions out, and no harm from being killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path

import pytest
import torch

from tests.trainer.datasets import digits
from trainer.config.run_config import load_config
from trainer.evaluation.counts import accuracy, confusion_counts
from trainer.progress import LineProgress
from trainer.train import FinishedRun, train
from triggers.artifact.artifact import check_compatible, load_artifact
from triggers.errors import ConfigError
from triggers.metrics.fairness_report import evaluate_counts
from triggers.model import load_bundle
from triggers.store.store import open_store

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]

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
steps = 120
batch_size = 128
threads = 1
device = "cpu"
[select]
max_accuracy_drop = 0.03
publish = "all"
[publish]
store = "store"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model bundle, PNG files, their manifest and a configuration."""
    folder = tmp_path_factory.mktemp("run")
    digits.fit_bundle(folder / "digits")
    digits.write_csv(folder)
    (folder / "run.toml").write_text(CONFIG)
    return folder


@pytest.fixture(scope="module")
def finished(folder: Path) -> FinishedRun:
    return train(load_config(folder / "run.toml"), folder / "out", LineProgress(StringIO()))


def test_publishes_what_it_reports(folder: Path, finished: FinishedRun) -> None:
    with open_store(folder / "store") as store:
        versions = {info.version: info.digest for info in store.versions("digits")}
        artifact = store.get("digits", finished.published[1].version)
    assert [place.strength for place in finished.published] == [1.0, 20.0]
    assert versions == {place.version: place.digest for place in finished.published}
    classifier = load_bundle(folder / "digits")
    check_compatible(artifact, classifier)
    counted = confusion_counts(classifier, digits.splits().test, classifier.bank([artifact.trigger]), 64)[0]
    assert artifact.manifest.counts("test", trigger=True) == counted
    assert (folder / "out" / "metrics.json").exists()


def test_the_published_trigger_is_fairer(finished: FinishedRun) -> None:
    assert finished.result.best is not None
    manifest = finished.artifacts[finished.result.best].manifest
    bare, best = (manifest.counts("test", trigger=trigger) for trigger in (False, True))
    gaps = [evaluate_counts(counts).demographic_parity_difference.value for counts in (bare, best)]
    assert gaps[0] is not None and gaps[1] is not None
    assert gaps[1] < 0.5 * gaps[0]
    assert accuracy(best) > accuracy(bare) - 0.03


def test_rules_on_the_outputs_are_compared_judged_and_saved(folder: Path, finished: FinishedRun) -> None:
    told = json.loads((folder / "out" / "metrics.json").read_bytes())
    chosen = {one["system"]: one for one in told["comparisons"] if one["chosen"]}
    assert {"hardt", "oxonfair"} <= set(chosen)
    assert chosen["oxonfair"]["selection"]["status"] in ("certified", "promising", "not recommended")
    assert (folder / "out" / "postprocessing" / "oxonfair.safetensors").stat().st_size > 256 * 2 * 4
    alternatives = finished.result.alternatives
    assert told["alternatives"]["better"] == alternatives.better
    assert told["alternatives"]["equal"] == list(alternatives.equal)


def test_the_model_stays_as_it_was(folder: Path, finished: FinishedRun) -> None:
    now = load_bundle(folder / "digits").fingerprint
    assert {artifact.manifest.model_fingerprint for artifact in finished.artifacts} == {now}
    finished.classifier.verify()


def test_strengths_left_open_are_found_told_and_shared_with_the_baselines(folder: Path) -> None:
    overrides = [
        'objective.strengths="auto"',
        "train.steps=20",
        "publish.enabled=false",
        "controls.random=0",
        "controls.postprocessing=false",
        'baselines.systems="adv_post"',
        "baselines.epochs=1",
    ]
    out, log = folder / "auto", StringIO()
    result = train(load_config(folder / "run.toml", overrides), out, LineProgress(log)).result
    told = json.loads((out / "metrics.json").read_bytes())
    search = told["strength_search"]
    assert told["config"]["objective"]["strengths"] == "auto"
    assert search["strengths"] == [one["strength"] for one in told["candidates"]]
    assert [trial["strength"] for trial in search["trials"]] == [0.1, 0.63, 4.0, 25.0, 160.0, 1000.0]
    assert (search["steps"], told["steps"], told["cost"]["steps"]) == (4, 16, 20)
    assert any(note.startswith("Strengths found: ") for note in told["notes"])
    written = {path.name for path in (out / "triggers").iterdir()}
    assert written == {f"strength-{strength:g}.safetensors" for strength in search["strengths"]}
    baselines = [one.strength for one in result.comparisons if one.system == "adv_post"]
    assert baselines == search["strengths"]
    artifact = load_artifact(out / "triggers" / min(written))
    stated = artifact.manifest.provenance.config["objective"]
    assert isinstance(stated, dict) and stated["strengths"] == "auto"


def test_repeating_a_finished_run_adds_no_version(folder: Path, finished: FinishedRun) -> None:
    again = train(load_config(folder / "run.toml"), folder / "out", LineProgress(StringIO()))
    assert again.published == finished.published


def test_another_configuration_does_not_go_on_from_this_checkpoint(folder: Path, finished: FinishedRun) -> None:
    other = load_config(folder / "run.toml", ["objective.strengths=[1, 5]"])
    with pytest.raises(ConfigError, match=r"objective.strengths was \[1.0, 20.0\], is \[1.0, 5.0\]"):
        train(other, folder / "out", LineProgress(StringIO()))


def test_controls_are_beside_the_triggers(folder: Path, finished: FinishedRun) -> None:
    metrics = json.loads((folder / "out" / "metrics.json").read_text())
    assert {one["system"] for one in metrics["comparisons"]} >= {"threshold", "threshold_matched", "constant", "random"}
    for one in metrics["comparisons"]:
        assert sum(cell[-1] for cell in one["counts"]["test"]) == digits.PARTS["test"]


def test_what_triggers_are_compared_with_may_change_when_a_run_goes_on(folder: Path, finished: FinishedRun) -> None:
    settings = ['baselines.systems=["adv_post"]', "baselines.epochs=6", "baselines.lr=3e-3", "controls.random=1"]
    log = StringIO()
    again = train(load_config(folder / "run.toml", settings), folder / "out", LineProgress(log))
    assert "Going on after step 120 of 120" in log.getvalue()
    assert again.published == finished.published
    rivals = [one for one in again.result.comparisons if one.system == "adv_post"]
    assert [one.strength for one in rivals] == [1.0, 20.0]
    gaps = [evaluate_counts(one.counts["test"]).demographic_parity_difference.value for one in rivals]
    bare = evaluate_counts(finished.result.bare["test"]).demographic_parity_difference.value
    assert bare is not None and gaps[1] is not None and gaps[1] < 0.5 * bare


def test_faap_is_beside_the_triggers_on_the_same_rows(folder: Path) -> None:
    settings = ["train.steps=6", "publish.enabled=false", "controls.enabled=false"]
    faap = ['baselines.systems="faap"', "baselines.strengths=[0.1,0.3]", "baselines.epochs=2", "baselines.save=true"]
    made = train(load_config(folder / "run.toml", [*settings, *faap]), folder / "faap", LineProgress(StringIO()))
    metrics = json.loads((folder / "faap" / "metrics.json").read_text())
    assert [(one["system"], one["strength"]) for one in metrics["comparisons"]] == [("faap", 0.1), ("faap", 0.3)]
    assert made.result.judge is not None
    for one in made.result.comparisons:
        assert one.val is not None and made.result.judge.rows.counts(one.val) == one.counts["val"]
        assert sum(one.counts["test"].values()) == digits.PARTS["test"]
    assert "FAAP" in (folder / "faap" / "report.html").read_text()
    assert (folder / "faap" / "baselines" / "faap" / "generator.safetensors").exists()


def test_cross_fitted_triggers_meet_controls_counted_on_the_same_rows(folder: Path) -> None:
    settings = ["select.folds=2", "train.steps=6", "publish.enabled=false", "controls.strength_zero=true"]
    made = train(load_config(folder / "run.toml", settings), folder / "folds", LineProgress(StringIO()))
    rows = digits.PARTS["tuning"] + digits.PARTS["val"]
    assert sum(made.result.bare["val"].values()) == rows
    assert {sum(one.counts["val"].values()) for one in made.result.comparisons} == {rows}
    judge = made.result.judge
    assert judge is not None
    for one in made.result.comparisons:
        assert one.val is not None and judge.rows.counts(one.val) == one.counts["val"]  # the same rows in one order
    (unmoved,) = (one for one in made.result.comparisons if one.setting == "shift +0")
    assert unmoved.val is not None and torch.equal(unmoved.val.long(), judge.rows.bare.long())
    assert "strength_zero" in {one.system for one in made.result.comparisons}


def test_a_killed_trainer_started_again_ends_with_the_same_digests(folder: Path) -> None:
    settings = ["objective.name=adversarial", "train.steps=250", "train.checkpoint_every=5", "publish.enabled=false"]
    whole = train(load_config(folder / "run.toml", settings), folder / "whole", LineProgress(StringIO()))
    broken = folder / "broken"
    with start(folder, broken, settings) as process:
        wait_for(broken / "checkpoint.safetensors", process)
        process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=60) == -signal.SIGKILL
    assert not (broken / "metrics.json").exists()
    with start(folder, broken, settings) as process:
        log = process.communicate(timeout=120)[0].decode()
    assert process.returncode == 0, log
    assert "Going on after step" in log
    digests = {load_artifact(path).digest for path in (broken / "triggers").glob("*.safetensors")}
    assert digests == {artifact.digest for artifact in whole.artifacts}


def start(folder: Path, out: Path, settings: list[str]) -> subprocess.Popen[bytes]:
    """The real command in its own process."""
    overrides = [part for setting in settings for part in ("--set", setting)]
    command = [sys.executable, "-m", "trainer", str(folder / "run.toml"), "--out", str(out), *overrides]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    for _ in range(1200):
        if path.exists():
            return
        assert process.poll() is None, process.stdout and process.stdout.read().decode()
        time.sleep(0.05)
    raise AssertionError(f"{path} did not appear")
