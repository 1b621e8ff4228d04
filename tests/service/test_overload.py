"""Overload, clients that go away, and a model that fails: over real HTTP, with a network that is slow on purpose."""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.bundles import tiny_network
from tests.service.live import as_item, encoded, picture, predict, running, settings
from triggers.classifier import FrozenClassifier
from triggers.file_store import FileStore

PREDICT = "/v1/models/faces/predict"
PNG = {"Content-Type": "image/png"}
SECONDS = 0.1
POISON = encoded(np.full((16, 16, 3), 255, dtype=np.uint8))


class Slow(nn.Module):
    """Takes a tenth of a second for every batch, and breaks when a whole image is white."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = tiny_network()

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, 2)."""
        time.sleep(SECONDS)
        if bool((images == images.max()).flatten(1).all(1).any()) and float(images.max()) > 0:
            raise ValueError("poisoned")
        logits: Tensor = self.inner(images)
        return logits


@pytest.fixture
def slow(tmp_path: Path, image_model: FrozenClassifier) -> Iterator[httpx.Client]:
    torch.manual_seed(0)
    model = FrozenClassifier(image_model.spec, Slow())
    chosen = settings(tmp_path, max_batch=4, queue_size=8, max_items_per_request=4, max_versions=4)
    with FileStore(tmp_path / "store") as store, running(chosen, store, [model]) as client:
        yield client


def metric(client: httpx.Client, name: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"fairtrigger_{name}{{"))


def test_beyond_the_queue_clients_get_503_at_once_and_the_others_an_answer(slow: httpx.Client) -> None:
    def send(number: int) -> tuple[int, float, str | None]:
        started = time.monotonic()
        answer = slow.post(PREDICT, content=picture(number), headers=PNG)
        return answer.status_code, time.monotonic() - started, answer.headers.get("retry-after")

    with ThreadPoolExecutor(32) as clients:
        answers = list(clients.map(send, range(96)))
    statuses = Counter(status for status, _, _ in answers)
    assert set(statuses) == {200, 503}
    assert statuses[200] >= 8
    assert all(1 <= int(retry or "") <= 60 for status, _, retry in answers if status == 503)
    assert metric(slow, "requests_rejected_total") == statuses[503]
    assert slow.post(PREDICT, content=picture(0), headers=PNG).status_code == 200


def test_a_client_that_went_away_is_not_computed(slow: httpx.Client) -> None:
    host, port = slow.base_url.host, slow.base_url.port
    body = picture(0)
    head = (
        f"POST {PREDICT} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with ThreadPoolExecutor(1) as other:
        for _ in range(20):  # it has to leave while the batch before it runs
            busy = other.submit(predict, slow, "faces", [picture(n) for n in range(4)])
            time.sleep(SECONDS / 2)
            with socket.create_connection((host, port or 80)) as gone:
                gone.sendall(head.encode() + body)
                time.sleep(SECONDS / 10)
            busy.result()
            if metric(slow, "items_dropped_total"):
                return
    pytest.fail("no abandoned input was ever skipped")


def test_an_input_that_breaks_the_model_fails_alone(slow: httpx.Client) -> None:
    def send(data: bytes) -> httpx.Response:
        return slow.post(PREDICT, content=data, headers=PNG)

    with ThreadPoolExecutor(4) as clients:
        answers = list(clients.map(send, [picture(0), POISON, picture(1), picture(2)]))
    assert [answer.status_code for answer in answers] == [200, 500, 200, 200]
    assert answers[1].json()["code"] == "model_failed"
    assert "poisoned" not in answers[1].text and "Traceback" not in answers[1].text


def test_more_versions_than_fit_in_memory(slow: httpx.Client) -> None:
    items = [as_item(picture(0), trigger=f"v{n}") for n in range(1, 5)]
    answer = slow.post(PREDICT, json={"inputs": items})
    assert (answer.status_code, answer.json()["code"]) == (422, "too_many_versions")
