"""Runs that MLflow and TensorBoard keep: what they hold afterwards, and that no run depends on them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.mlflow_server import MlflowServer
from tests.service.live import wait_until
from tests.trainer.datasets import digits
from trainer.config.run_config import load_config
from trainer.progress import LineProgress
from trainer.progress.run_figures import report_figures
from trainer.train import FinishedRun, train
from triggers.artifact.artifact import load_artifact
from triggers.errors import ConfigError
from triggers.metrics import evaluate_counts
from triggers.storage.mlflow_client import connect_mlflow

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]
STEPS = 40
CONFIG = f"""
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
steps = {STEPS}
batch_size = 64
threads = 1
device = "cpu"
[select]
publish = "all"
[controls]
enabled = false
[report]
examples = 1
rows = 50
saliency_steps = 2
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


def trained(folder: Path, out: str, *settings: str, log: StringIO | None = None, fresh: bool = False) -> FinishedRun:
    """A run in this process."""
    config = load_config(folder / "run.toml", settings)
    return train(config, folder / out, LineProgress(log or StringIO()), fresh=fresh)


def only_run(client: MlflowClient, experiment: str) -> Any:
    """The one run of an experiment."""
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    (run,) = client.search_runs([found.experiment_id])
    return run


def history(client: MlflowClient, run: Any, name: str) -> list[tuple[int, float]]:
    """Steps and values of a metric, as they came."""
    return [(one.step, one.value) for one in client.get_metric_history(run.info.run_id, name)]


@pytest.fixture(scope="module")
def tracked(folder: Path, mlflow_server: MlflowServer) -> FinishedRun:
    """A run in MLflow, experiment `digits`, and in TensorBoard."""
    return trained(folder, "tracked", f"track.mlflow={mlflow_server.url}", "track.tensorboard=board")


@pytest.fixture(scope="module")
def client(mlflow_server: MlflowServer) -> MlflowClient:
    """A client of the server."""
    return connect_mlflow(mlflow_server.url)


def test_mlflow_has_configuration_losses_validations_report_and_artifacts(
    folder: Path, tracked: FinishedRun, client: MlflowClient
) -> None:
    run = only_run(client, "digits")
    assert (run.info.run_name, run.info.status) == ("tracked", "FINISHED")
    assert run.data.params["train.steps"] == str(STEPS) and run.data.params["objective.strengths"] == "[1.0, 20.0]"
    assert not any(name.startswith("track") for name in run.data.params)
    for name in ("loss/utility/strength-1", "loss/fairness/strength-20"):
        assert [step for step, _ in history(client, run, name)] == list(range(1, STEPS + 1))
    validations = history(client, run, "val/demographic_parity_difference/strength-20")
    assert [step for step, _ in validations] == list(range(4, STEPS + 1, 4))
    chosen = tracked.result.candidates[1]
    told = report_figures(evaluate_counts(chosen.counts["val"]).to_dict(), "val", "strength-20")
    assert dict(validations)[chosen.step] == told["val/demographic_parity_difference/strength-20"]
    final = report_figures(evaluate_counts(chosen.counts["test"]).to_dict(), "final/test", "strength-20")
    assert final and final.items() <= run.data.metrics.items()
    assert run.data.tags["fairtrigger.strength-20.digest"] == tracked.artifacts[1].digest
    assert run.data.tags["fairtrigger.strength-20.status"] == chosen.selection.status
    listed = {one.path for one in client.list_artifacts(run.info.run_id)}
    assert {"config.toml", "metrics.json", "model-card.md", "report.html", "triggers"} <= listed
    assert any(path.endswith(".png") for path in listed)
    kept = client.download_artifacts(run.info.run_id, "triggers/strength-20.safetensors", str(folder))
    assert load_artifact(Path(kept)).digest == tracked.artifacts[1].digest


def test_tensorboard_has_the_same_figures_text_and_pictures(
    folder: Path, tracked: FinishedRun, client: MlflowClient
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "board" / "tracked"), size_guidance={"scalars": 0})
    events.Reload()
    run = only_run(client, "digits")
    for name in ("loss/utility/strength-1", "val/accuracy/bare", "final/test/accuracy/strength-20"):
        found = [(one.step, one.value) for one in events.Scalars(name)]
        assert found == [(step, pytest.approx(value, rel=1e-6)) for step, value in history(client, run, name)]
    assert {"configuration/text_summary", "model-card/text_summary", "result/text_summary"} <= set(
        events.Tags()["tensors"]
    )
    assert events.Tags()["images"]


def test_tracking_changes_no_digest(folder: Path, tracked: FinishedRun) -> None:
    plain = trained(folder, "plain")
    assert [one.digest for one in plain.artifacts] == [one.digest for one in tracked.artifacts]
    assert not (folder / "plain" / "tracking.json").exists()
    assert (
        tracked.artifacts[0].manifest.provenance.config.keys() == plain.artifacts[0].manifest.provenance.config.keys()
    )


def test_a_killed_run_goes_on_as_the_same_run_with_every_step_once(
    folder: Path, mlflow_server: MlflowServer, client: MlflowClient
) -> None:
    settings = ["train.steps=500", "train.eval_every=5", "publish.enabled=false", "report.enabled=false"]
    settings += [f"track.mlflow={mlflow_server.url}", "track.experiment=killed", "track.tensorboard=board"]
    words = [word for each in settings for word in ("--set", each)]
    command = [sys.executable, "-m", "trainer", str(folder / "run.toml"), "--out", str(folder / "killed"), *words]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    name = "val/accuracy/strength-1"
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr
        wait_until(lambda: process.poll() is not None or _steps(client, "killed", name) > 2, 120, every=0.05)
        assert process.poll() is None, process.stderr.read().decode()
        process.kill()
    before = only_run(client, "killed")
    assert before.info.status == "RUNNING"
    log = StringIO()
    trained(folder, "killed", *settings, log=log)
    assert "Going on after step" in log.getvalue()
    run = only_run(client, "killed")
    assert (run.info.run_id, run.info.status) == (before.info.run_id, "FINISHED")
    assert [step for step, _ in history(client, run, name)] == list(range(5, 501, 5))
    steps = [step for step, _ in history(client, run, "loss/utility/strength-1")]
    assert len(steps) == len(set(steps)) and max(steps) == 500
    assert {path.name for path in (folder / "board").glob("killed*")} == {"killed"}


def _steps(client: MlflowClient, experiment: str, name: str) -> int:
    found = client.get_experiment_by_name(experiment)
    return len(history(client, only_run(client, experiment), name)) if found else 0


def test_a_fresh_run_is_a_run_of_its_own(folder: Path, mlflow_server: MlflowServer, client: MlflowClient) -> None:
    settings = ["train.steps=5", "publish.enabled=false", "report.enabled=false", "track.tensorboard=board"]
    settings += [f"track.mlflow={mlflow_server.url}", "track.experiment=fresh", "track.name=again"]
    for fresh in (False, False, True):
        trained(folder, "fresh", *settings, fresh=fresh)
    found = client.get_experiment_by_name("fresh")
    assert found is not None
    runs = client.search_runs([found.experiment_id])
    assert [run.info.run_name for run in runs] == ["again", "again"]
    assert {path.name for path in (folder / "board").glob("again*")} == {"again", "again-2"}


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")  # MLflow's, with SQLAlchemy 2.1
def test_a_folder_takes_runs_without_a_server(folder: Path) -> None:
    settings = ["train.steps=5", "publish.enabled=false", "report.enabled=false", "track.mlflow=kept"]
    trained(folder, "local", *settings)
    client = connect_mlflow(str(folder / "kept"))
    run = only_run(client, "digits")
    assert run.info.status == "FINISHED" and run.info.artifact_uri.startswith((folder / "kept" / "artifacts").as_uri())
    assert "metrics.json" in {one.path for one in client.list_artifacts(run.info.run_id)}


def test_a_server_that_does_not_answer_at_the_start_is_refused_in_one_line(folder: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"^track.mlflow: MLflow at http://127.0.0.1:9: no connection. Start it"
    ) as told:
        trained(folder, "refused", "track.mlflow=http://user:secret@127.0.0.1:9")
    assert "secret" not in str(told.value) and "\n" not in str(told.value)
    assert not (folder / "refused" / "checkpoint.safetensors").exists()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Requests to MLflow that wait for a second, once."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    yield


class StoppingProgress(LineProgress):
    """Records that stop a server when the training begins."""

    def __init__(self, stream: StringIO, server: MlflowServer) -> None:
        super().__init__(stream)
        self._server = server

    def task(self, title: str, total: int, done: int = 0) -> Any:
        """A task, before which the server may stop."""
        if title.startswith("train"):
            os.killpg(self._server.popen.pid, signal.SIGSTOP)
        return super().task(title, total, done)


@pytest.mark.usefixtures("impatient")
def test_a_server_lost_on_the_way_is_said_once_and_changes_nothing(
    folder: Path, tracked: FinishedRun, mlflow_server: MlflowServer
) -> None:
    log = StringIO()
    config = load_config(folder / "run.toml", [f"track.mlflow={mlflow_server.url}", "track.experiment=lost"])
    try:
        made = train(config, folder / "lost", StoppingProgress(log, mlflow_server))
    finally:
        os.killpg(mlflow_server.popen.pid, signal.SIGCONT)
    assert [one.digest for one in made.artifacts] == [one.digest for one in tracked.artifacts]
    lines = [line for line in log.getvalue().splitlines() if mlflow_server.url in line]
    said = [line.partition("  ")[2].removeprefix(f"MLflow at {mlflow_server.url} ") for line in lines[1:]]
    assert [line[:20] for line in said] == ["takes nothing now: M", "took nothing to the "]


def test_a_failed_run_is_failed_there_too(folder: Path, mlflow_server: MlflowServer, client: MlflowClient) -> None:
    with pytest.raises(ConfigError, match="recall_groups"):
        trained(
            folder,
            "failed",
            f"track.mlflow={mlflow_server.url}",
            "track.experiment=failed",
            'select.measure="recall"',
            'select.recall_groups="green"',
        )
    assert only_run(client, "failed").info.status == "FAILED"
