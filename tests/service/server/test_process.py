"""The service as a process of its own: how it starts, what it says, how it ends."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from service.config.settings import Settings
from tests.artifacts import artifact_for
from tests.bundles import image_bundle
from tests.service.live import Process, as_item, picture, plain_client, predict, process, wait_until
from triggers.model import load_bundle
from triggers.store.file_store import FileStore

PREDICT = "/v1/models/faces/predict"
FEEDBACK = "/v1/models/faces/feedback"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return image_bundle(tmp_path_factory.mktemp("bundle") / "faces")


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "service", *arguments], capture_output=True, text=True, timeout=120)


@pytest.mark.process
def test_help_teaches() -> None:
    told = command("--help").stdout
    assert "python -m service --model models/faces --store ./fairtrigger-store" in told
    assert "--max-batch" in told and "FAIRTRIGGER_MAX_BATCH" in told and "If-Match" in told


@pytest.mark.process
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "nowhere", "--port", "77777"], "--port (FAIRTRIGGER_PORT)"),
        (["--model", "nowhere"], "nowhere is no model bundle"),
        (["--queue-size", "3"], "raise queue_size or lower max_items_per_request"),
        ([], "There is no model to serve"),
        (["--nonsense"], "unrecognized arguments"),
    ],
)
def test_what_cannot_start_says_why(arguments: Sequence[str], said: str) -> None:
    ended = command(*arguments)
    assert ended.returncode == 2
    assert said in ended.stderr and "Traceback" not in ended.stderr


class Traffic(threading.Thread):
    """One client that counts what was answered, by HTTP status; a refused connection ends it."""

    def __init__(self, url: httpx.URL, group: str) -> None:
        super().__init__()
        self.url, self.group = url, group
        self.answered: list[float] = []
        self.failures: list[str] = []

    def run(self) -> None:
        body = {"inputs": [as_item(picture(0))], "group": self.group}
        with plain_client(self.url) as client:
            while True:
                try:
                    response = client.post(PREDICT, json=body)
                except httpx.ConnectError:
                    return
                except httpx.TransportError as error:
                    self.failures.append(repr(error))
                    return
                if response.status_code != 200:
                    self.failures.append(response.text)
                    return
                self.answered.append(time.time())


def counted(client: httpx.Client) -> Counter[str]:
    report = client.get("/v1/models/faces/fairness", params={"window": "all"}).json()["versions"].get("bare")
    groups = report["groups"] if report else {}
    return Counter({group: each["n"] for group, each in groups.items()})


@pytest.mark.process
def test_sigterm_finishes_what_was_accepted_and_keeps_every_count(tmp_path: Path, bundle: Path) -> None:
    with process(tmp_path, [bundle], drain_seconds=4.0) as service:
        assert service.client.get("/readyz").status_code == 200
        clients = [Traffic(service.client.base_url, group) for group in "abcd"]
        for client in clients:
            client.start()
        wait_until(lambda: all(len(client.answered) > 20 for client in clients))
        told = time.monotonic()
        service.popen.send_signal(signal.SIGTERM)
        wait_until(lambda: not httpx.get(service.client.base_url.join("/readyz")).json()["ready"], 3)
        draining = httpx.get(service.client.base_url.join("/readyz"))
        assert (draining.status_code, draining.json()["draining"]) == (503, True)
        assert service.popen.wait(30) == 0
        assert time.monotonic() - told < 13
        for client in clients:
            client.join(30)
        assert [client.failures for client in clients] == [[]] * 4
    with process(tmp_path, [bundle]) as service:
        assert counted(service.client) == {client.group: len(client.answered) for client in clients}
        assert "may have lost" not in service.log.read_text()
        assert service.client.get("/v1/models/faces/fairness").json()["possible_loss"] is None


def pause_with_counts_unwritten(service: Process, runs: Path) -> None:
    """Stop it at a moment when killing it may lose something: right after a flush nothing would be lost."""
    (run,) = runs.iterdir()

    def paused() -> bool:
        service.popen.send_signal(signal.SIGSTOP)
        if run.read_bytes()[-1]:  # `dirty`, see service/ledger/process_liveness.py
            return True
        service.popen.send_signal(signal.SIGCONT)
        return False

    wait_until(paused)


@pytest.mark.process
def test_sigkill_loses_at_most_the_last_interval_says_so_and_counts_nothing_twice(tmp_path: Path, bundle: Path) -> None:
    with process(tmp_path, [bundle], flush_seconds=0.5) as service:
        labelled = predict(service.client, "faces", [picture(0)], group="c")[0]
        late = {"prediction_id": labelled["prediction_id"], "label": 1}
        assert service.client.post(FEEDBACK, json=late).json()["results"] == [{"status": "counted"}]
        clients = [Traffic(service.client.base_url, group) for group in "ab"]
        for client in clients:
            client.start()
        time.sleep(2.2)
        pause_with_counts_unwritten(service, tmp_path / "data" / "ledger.sqlite.runs")
        killed = time.time()
        service.popen.kill()
        for client in clients:
            client.join(30)
    with process(tmp_path, [bundle]) as service:
        kept = counted(service.client)
        for client in clients:
            safe = sum(at < killed - 2 * 0.5 for at in client.answered)
            assert 0 < safe <= kept[client.group] <= len(client.answered) + 1  # one may have been counted, not answered
        assert kept["c"] == 1
        assert service.client.post(FEEDBACK, json=late).json()["results"] == [{"status": "unchanged"}]
        loss = service.client.get("/v1/models/faces/fairness").json()["possible_loss"]
        assert loss["reasons"] == ["killed"] and 0 < loss["at_most_seconds"] <= 1.5
        assert "a killed service may have lost the counts of its last" in service.log.read_text()


@pytest.mark.process
def test_what_the_start_tells(tmp_path: Path, bundle: Path) -> None:
    with FileStore(tmp_path / "store") as store:
        version = store.publish(artifact_for(load_bundle(bundle), "border"), actor="test")
        store.set_rollout("faces", version, if_revision=None, actor="test", reason="")
    with process(tmp_path, [bundle], max_body_bytes=2048) as service:
        log = service.log.read_text()
        assert re.search(r"faces \(image, v1\)\s+http://127.0.0.1:\d+/v1/models/faces/predict", log)
        assert f"store {(tmp_path / 'store').as_uri()}" in log
        assert (tmp_path / "data" / "receipt.keys").stat().st_mode & 0o077 == 0
        assert service.client.post(PREDICT, content=b"x" * 3000).status_code == 413
        ended = command(
            "--model", str(bundle), "--store", str(tmp_path / "store"), "--port", f"{service.client.base_url.port}"
        )
        assert ended.returncode != 0 and "address already in use" in ended.stderr
        assert service.stop(signal.SIGINT) == 0


def test_the_environment_is_read_and_options_win(tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIRTRIGGER_MAX_BATCH", "7")
    monkeypatch.setenv("FAIRTRIGGER_MAX_TEXT_CHARS", "11")
    chosen = Settings(max_text_chars=12)
    assert (chosen.max_batch, chosen.max_text_chars) == (7, 12)
    monkeypatch.setenv("FAIRTRIGGER_MODELS", f"{bundle}, {tmp_path}")
    assert Settings().models == (bundle, tmp_path)
