"""A real MLflow server for tests, `mlflow server` on a free port with a database and artifacts of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest


class MlflowServer:
    """A running server that a test may stop, and start again over the same data."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        """Start it and wait until it answers."""
        pytest.importorskip("mlflow", reason="the extra `tracking` is not installed")
        places = ["--backend-store-uri", f"sqlite:///{self._folder}/mlflow.db"]
        places += ["--artifacts-destination", str(self._folder / "artifacts")]
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        with (self._folder / "mlflow.log").open("ab") as log:
            self.popen = subprocess.Popen(
                [*command, "--workers", "1", *places],
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,  # its workers end with it
            )
        deadline = time.monotonic() + 120
        while not self._answers():
            assert self.popen.poll() is None and time.monotonic() < deadline, (self._folder / "mlflow.log").read_text()
            time.sleep(0.1)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=2) as answer:
                return bool(answer.read() == b"OK")
        except OSError:
            return False

    def kill(self) -> None:
        """End it at once, as a crash would."""
        os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """The server that tests share: each takes experiments and models of its own."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    server = MlflowServer(tmp_path_factory.mktemp("mlflow"))
    yield server
    server.kill()
