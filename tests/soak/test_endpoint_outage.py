"""An endpoint that is gone for half a minute under load, again and again: no wrong answer, well again within 2 s."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.artifacts import artifact_for
from tests.commanded_endpoint import commanded_endpoint
from tests.service.live import picture, predict, process, swap, wait_until
from triggers.store.file_store import FileStore

pytestmark = [pytest.mark.soak, pytest.mark.slow, pytest.mark.timeout(0)]
GONE_SECONDS, RECOVERY_SECONDS, SLOWEST_SECONDS = 30.0, 2.0, 3.0
PICTURE = picture(0)


@dataclass
class Client(threading.Thread):
    """Asks until told to stop; counts the codes of its answers and keeps what was wrong."""

    address: str
    right: dict[str, float]
    stop: threading.Event
    codes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    last_right: float = 0.0
    slowest: float = 0.0

    def __post_init__(self) -> None:
        super().__init__(daemon=True)

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        connection = http.client.HTTPConnection(self.address, timeout=30)
        while not self.stop.is_set():
            began = time.monotonic()
            connection.request("POST", "/v1/models/faces/predict", PICTURE, {"Content-Type": "image/png"})
            reply = connection.getresponse()
            document = json.loads(reply.read())
            self.slowest = max(self.slowest, time.monotonic() - began)
            if reply.status == 200:
                self.last_right = time.monotonic()
                if document["predictions"][0]["scores"] != pytest.approx(self.right, abs=1e-5):
                    self.wrong.append(str(document))
            elif reply.status != 503 or not reply.getheader("retry-after"):
                self.wrong.append(f"{reply.status} {document}")
            else:
                time.sleep(0.01)
            self.codes[document.get("code", "right")] += 1
        connection.close()


def _recovery(clients: list[Client]) -> float:
    """Seconds until every client was answered."""
    back = time.monotonic()
    wait_until(lambda: all(each.last_right > back for each in clients), 10)
    return time.monotonic() - back


@pytest.mark.parametrize("workers", [0, 2])
def test_gone_for_half_a_minute(tmp_path: Path, workers: int) -> None:
    with commanded_endpoint() as endpoint:
        classifier = endpoint.classifier(tmp_path / "faces", timeout=2.0)
        with FileStore(tmp_path / "store") as store:
            store.publish(artifact_for(classifier, "border"), actor="test")
        options = {"endpoint_hosts": f"127.0.0.1:{endpoint.port}", "torch_threads": 1, "http_workers": workers}
        with process(tmp_path, [tmp_path / "faces"], **options) as service:
            assert swap(service.client, "faces", "v1").status_code == 200
            right = predict(service.client, "faces", [PICTURE], trigger="v1")[0]["scores"]
            stop = threading.Event()
            address = service.client.base_url.netloc.decode()
            clients = [Client(address, right, stop) for _ in range(6)]
            for client in clients:
                client.start()
            for seed in (0, 1, 0):  # it comes back as itself, as another model, as itself
                time.sleep(2)
                endpoint.stop()
                time.sleep(GONE_SECONDS)
                endpoint.seed = seed
                endpoint.start()
                if seed:
                    time.sleep(5)
                    assert service.client.get("/readyz").status_code == 503
                else:
                    took = _recovery(clients)
                    print(f"well again after {took:.2f} s")
                    assert took < RECOVERY_SECONDS
            time.sleep(2)
            stop.set()
            for client in clients:
                client.join(30)
            codes = sum((each.codes for each in clients), Counter[str]())
            print(dict(codes), f"slowest {max(each.slowest for each in clients):.2f} s")
            assert [wrong for each in clients for wrong in each.wrong] == []
            assert set(codes) == {"right", "endpoint_unavailable"}
            assert max(each.slowest for each in clients) < SLOWEST_SECONDS
