"""Clients of MLflow: of a tracking server or registry by its address, or of a folder. Only this file opens one.

    http://host:5000            a server; MLFLOW_TRACKING_USERNAME, _PASSWORD and _TOKEN are MLflow's own variables
    sqlite:///file.db           a database, and other addresses that MLflow takes
    folder                      made when missing: mlflow.db, and artifacts/ beside it

A request is tried twice and a silent server is given ten seconds, unless MLflow's variables say otherwise: its own
defaults wait for many minutes. Needs the extra `tracking`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from triggers.errors import ConfigError, NotFound, StoreError, StoreUnavailable
from triggers.storage.url_utils import without_password

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

CLIENT_DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
PASSING = ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED")
"""MLflow's codes of failures that may pass: no answer, or a server's own fault."""


def connect_mlflow(uri: str) -> MlflowClient:
    """A client for tracking and registry at `uri`; a folder's database is made. Raises ConfigError, StoreUnavailable.

    A server is not asked anything yet. Its methods are called within `mlflow_errors`.
    """
    for name, value in CLIENT_DEFAULTS.items():
        os.environ.setdefault(name, value)
    try:
        from mlflow.tracking import MlflowClient
    except ImportError as error:
        raise ConfigError("MLflow needs the extra: pip install 'fairtrigger[tracking]'.") from error
    for talker in ("mlflow", "alembic", "urllib3.connectionpool"):
        logging.getLogger(talker).setLevel(logging.ERROR)
    folder = mlflow_folder(uri)
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
    address = f"sqlite:///{folder.resolve()}/mlflow.db" if folder else uri
    try:
        with mlflow_errors(uri):
            return MlflowClient(tracking_uri=address, registry_uri=address)
    except ImportError as error:  # a database needs SQLAlchemy and its driver
        raise ConfigError(f"MLflow at {without_password(uri)} needs a package that is missing: {error}.") from error


def mlflow_folder(uri: str) -> Path | None:
    """The folder that an address names; None for a server or a database."""
    plain = ":" not in uri and not uri.startswith("databricks")  # which is a name of MLflow's own
    return Path(uri.removeprefix("file://")) if plain or uri.startswith("file:///") else None


def make_experiment(client: MlflowClient, uri: str, name: str) -> str:
    """The id of an experiment, made when it is missing; a folder keeps its artifacts. Raises ConfigError."""
    from mlflow.exceptions import MlflowException

    folder = mlflow_folder(uri)
    found = client.get_experiment_by_name(name)
    if found is not None and found.lifecycle_stage == "deleted":
        raise ConfigError(f"The MLflow experiment {name!r} is deleted: restore it there, or name another.")
    if found is not None:
        return str(found.experiment_id)
    try:
        place = (folder.resolve() / "artifacts").as_uri() if folder else None
        return str(client.create_experiment(name, artifact_location=place))
    except MlflowException:
        if (made := client.get_experiment_by_name(name)) is None:  # else another run made it just now
            raise
        return str(made.experiment_id)


@contextmanager
def mlflow_errors(uri: str) -> Iterator[None]:
    """Turn MLflow's failures into NotFound, StoreUnavailable (it may pass) or StoreError, in one line."""
    from mlflow.exceptions import MlflowException
    from requests import RequestException

    try:
        yield
    except MlflowException as error:
        said = f"MLflow at {without_password(uri)}: {_first_line(error)}"
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            raise NotFound(said) from error
        raise (StoreUnavailable if error.error_code in PASSING else StoreError)(said) from error
    except (RequestException, OSError) as error:
        raise StoreUnavailable(f"MLflow at {without_password(uri)}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    """The first line, cut: MLflow repeats whole requests in its messages."""
    said, _, cause = str(error).partition("\n")[0].partition(" with exception ")
    if "timed out" in cause:
        return "no answer in time."
    return "no connection." if "Connection" in cause else said[:300].rstrip(".") + "."
