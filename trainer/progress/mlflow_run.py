"""A run's history in MLflow: parameters, metrics by step, tags, files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.progress.figure_journal import TrackedFigure
from trainer.progress.run_tracker import Ending
from triggers.errors import NotFound
from triggers.storage import without_password
from triggers.storage.mlflow_client import connect_mlflow, make_experiment, mlflow_errors

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

MOST_PARAMETERS = 100
"""In one request, as MLflow takes them."""
PARAMETER_CHARACTERS = 500
"""Characters of a parameter, as every version of MLflow takes them; the whole configuration is a file beside them."""
TAG_PREFIX = "fairtrigger."


class MlflowRun:
    """One run at an MLflow address. A continued one takes no figure of a step that it has already."""

    def __init__(self, client: MlflowClient, uri: str, run_id: str, *, continued: bool) -> None:
        self.place = f"MLflow at {without_password(uri)}"
        self.run_id, self._client, self._uri = run_id, client, uri
        self._continued, self._latest = continued, dict[str, int]()

    @classmethod
    def start(
        cls, uri: str, experiment: str, name: str, parameters: Mapping[str, Any], toml: str, run_id: str | None
    ) -> MlflowRun:
        """A new run, or the one of this id if it is still there. Raises ConfigError, StoreUnavailable or StoreError."""
        client = connect_mlflow(uri)
        with mlflow_errors(uri):
            if run_id and _lives(client, uri, run_id):
                client.update_run(run_id, status="RUNNING")
                return cls(client, uri, run_id, continued=True)
            made = client.create_run(make_experiment(client, uri, experiment), run_name=name)
            found = cls(client, uri, made.info.run_id, continued=False)
            found._describe(parameters, toml)
            return found

    def _describe(self, parameters: Mapping[str, Any], toml: str) -> None:
        from mlflow.entities import Param

        params = [Param(name, str(value)[:PARAMETER_CHARACTERS]) for name, value in parameters.items()]
        for start in range(0, len(params), MOST_PARAMETERS):
            self._client.log_batch(self.run_id, params=params[start : start + MOST_PARAMETERS])
        self._client.log_text(self.run_id, toml, "config.toml")

    def log_figures(self, figures: Sequence[TrackedFigure]) -> None:
        """Log metrics."""
        from mlflow.entities import Metric

        with mlflow_errors(self._uri):
            new = [one for one in figures if one.step > self._latest_step(one.name)]
            if new:
                metrics = [Metric(one.name, one.value, one.moment, one.step) for one in new]
                self._client.log_batch(self.run_id, metrics=metrics)

    def _latest_step(self, name: str) -> int:
        """The last step of a metric before this start of the run; -1: none."""
        if not self._continued:
            return -1
        if name not in self._latest:
            history = self._client.get_metric_history(self.run_id, name)
            self._latest[name] = max((one.step for one in history), default=-1)
        return self._latest[name]

    def log_facts(self, facts: Mapping[str, str]) -> None:
        """Set tags."""
        with mlflow_errors(self._uri):
            for name, value in facts.items():
                self._client.set_tag(self.run_id, TAG_PREFIX + name, value)

    def log_files(self, folder: Path, files: Sequence[Path]) -> None:
        """Upload files as artifacts."""
        with mlflow_errors(self._uri):
            for file in files:
                place = file.relative_to(folder).parent.as_posix()
                self._client.log_artifact(self.run_id, str(file), None if place == "." else place)

    def end(self, ending: Ending) -> None:
        """Set the run's status."""
        with mlflow_errors(self._uri):
            self._client.set_terminated(self.run_id, ending)


def _lives(client: MlflowClient, uri: str, run_id: str) -> bool:
    try:
        with mlflow_errors(uri):
            return str(client.get_run(run_id).info.lifecycle_stage) == "active"
    except NotFound:
        return False
