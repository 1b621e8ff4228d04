"""`python -m trainer` as a person runs it: help, the example, a whole run, errors, an interrupt."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.trainer.datasets import faces
from tests.trainer.sources import CELEBA
from trainer.__main__ import app
from trainer.config.run_config import load_config
from triggers.store.store import open_store

ROOT = Path(__file__).parents[2]

RUN = """
[base]
labels = ["plain", "attractive"]
builder = "tests.trainer.datasets.faces:network"
size = 16
epochs = 2
[objective]
name = "gap"
strengths = [0, 2]
[train]
steps = 6
batch_size = 32
device = "cpu"
threads = 1
[select]
publish = "all"
"""


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-W", "error", "-m", "trainer", *arguments]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "COLUMNS": "100", "TERM": "dumb"}


def trainer(*arguments: str) -> Result:
    """The command inside this process, in the current folder."""
    return CliRunner(env={"COLUMNS": "100", "TERM": "dumb"}).invoke(app, arguments, catch_exceptions=False)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: pictures and run.toml."""
    monkeypatch.chdir(tmp_path)
    faces.celeba(tmp_path / "celeba")
    (tmp_path / "run.toml").write_text(CELEBA + RUN)
    return tmp_path


def test_help_teaches_with_an_example() -> None:
    done = trainer("--help")
    assert done.exit_code == 0
    text = " ".join(done.stdout.split())
    for part in (
        "python -m trainer --example > run.toml",
        "--set",
        "--out",
        "--fresh",
        "--resume",
        "--look",
        "section",
    ):
        assert part in text


def test_the_example_can_be_saved_and_read(tmp_path: Path) -> None:
    done = trainer("--example")
    assert done.exit_code == 0
    (tmp_path / "run.toml").write_text(done.stdout)
    assert load_config(tmp_path / "run.toml").trigger.kind == "overlay"


@pytest.mark.slow
def test_the_real_command_fits_trains_publishes_and_reports(folder: Path) -> None:
    rivals = ["--set", 'baselines.systems=["adv_post","adv_in"]', "--set", "baselines.epochs=1"]
    made = command("run.toml", *rivals)
    done = subprocess.run(made, cwd=folder, env=environment(), capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert "fit model" in done.stderr and "train triggers" in done.stderr
    shown = (
        "none",
        "v1",
        "v2",
        "threshold, shift",
        "constant, always",
        "random trigger, mean of 3",
        "AdvPost 2",
        "AdvIN 2",
    )
    for part in (*shown, "runs/run/metrics.json", "runs/run/report.html", "fairtrigger --store"):
        assert part in done.stdout
    names = {path.name for path in (folder / "runs" / "run").iterdir()}
    assert names >= {"metrics.json", "report.html", "front.png", "triggers.png", "triggers", "checkpoint.safetensors"}
    with open_store(folder / "fairtrigger-store") as store:
        assert len(store.versions("model")) == 2


@pytest.mark.slow
def test_a_second_run_goes_on_and_a_fresh_one_ends_the_same(folder: Path) -> None:
    assert trainer("run.toml").exit_code == 0
    again = trainer("run.toml", "--resume")
    assert "Going on after step 6 of 6" in again.stderr
    fresh = trainer("run.toml", "--fresh", "--out", "elsewhere/again")
    assert (fresh.exit_code, again.exit_code) == (0, 0)
    assert "Going on" not in fresh.stderr
    assert digests("elsewhere/again") == digests("runs/run")


def digests(out: str) -> list[str]:
    metrics = json.loads((Path(out) / "metrics.json").read_text())
    return [one["published"]["digest"] for one in metrics["candidates"]]


@pytest.mark.slow
def test_fresh_drops_the_checkpoint_of_another_configuration(folder: Path) -> None:
    assert trainer("run.toml").exit_code == 0
    other = ("run.toml", "--set", "objective.strengths=[3]", "--set", "publish.enabled=false")
    refused = trainer(*other)
    assert refused.exit_code == 2
    assert "objective.strengths" in refused.stderr
    assert trainer(*other, "--fresh").exit_code == 0
    assert [path.name for path in (folder / "runs/run/triggers").iterdir()] == ["strength-3.safetensors"]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["missing.toml"], 2, "error: Cannot read missing.toml"),
        (["run.toml", "--set", "objective.strenghts=[1]"], 2, "did you mean 'strengths'?"),
        (["run.toml", "--set", "data.label=Smart"], 1, "CelebA has no attribute 'Smart'"),
        (["run.toml", "--set", "base.builder=resnet19"], 1, "torchvision has no model 'resnet19'"),
        (["run.toml", "--sett", "a=1"], 2, "No such option"),
        (["run.toml", "other.toml"], 2, "unexpected extra argument"),
    ],
)
def test_errors_are_told_with_a_status(folder: Path, arguments: list[str], status: int, message: str) -> None:
    done = trainer(*arguments)
    assert done.exit_code == status
    assert message in " ".join(done.stderr.replace("│", " ").split())


def test_no_arguments_show_the_help() -> None:
    done = trainer()
    assert done.exit_code == 2
    assert "RUN.TOML" in done.output


@pytest.mark.slow
def test_an_interrupt_says_how_to_go_on(folder: Path) -> None:
    settings = ["--set", "train.steps=100000", "--set", "train.checkpoint_every=1", "--set", "train.eval_every=50000"]
    made = command("run.toml", *settings)
    with subprocess.Popen(made, cwd=folder, env=environment(), stderr=subprocess.PIPE, text=True) as process:
        checkpoint = folder / "runs/run/checkpoint.safetensors"
        deadline = time.monotonic() + 60
        while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "interrupted; runs/run/checkpoint.safetensors is kept, the same command goes on from it" in said
    assert "Traceback" not in said
