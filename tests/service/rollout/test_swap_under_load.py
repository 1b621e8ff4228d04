"""Hot swap under load: no failed request, and no answer that is not of the version it names."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.artifacts import IMAGE_KINDS, TEXT_KINDS, artifact_for
from tests.bundles import image_bundle, text_bundle
from tests.service.live import ADMIN, Process, as_item, picture, plain_client, predict, process
from triggers.model import load_bundle
from triggers.store.file_store import FileStore

pytestmark = pytest.mark.process

PICTURES = [picture(seed) for seed in range(6)]
TEXTS = ["the movie was awful", "a kind old woman sings", "not very good", "boy and girl", "dog", "nice nice nice"]
INPUTS: dict[str, list[Any]] = {"faces": PICTURES, "posts": TEXTS}
CLIENTS = 8


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """Both models as a process of their own, three versions each."""
    tmp: Path = tmp_path_factory.mktemp("swap")
    bundles = [image_bundle(tmp / "faces"), text_bundle(tmp / "posts")]
    with FileStore(tmp / "store") as store:
        for folder, kinds in zip(bundles, (tuple(IMAGE_KINDS)[:3], TEXT_KINDS), strict=True):
            for seed, kind in enumerate(kinds):
                store.publish(artifact_for(load_bundle(folder), kind, seed), actor="test")
    with process(tmp, bundles) as running:
        yield running


class Client(threading.Thread):
    """Sends requests of 1 to 3 inputs until told to stop; keeps what was wrong and what it saw."""

    def __init__(self, url: httpx.URL, number: int, stop: threading.Event, expected: dict[Any, Any]) -> None:
        super().__init__()
        self.url, self.number, self.stop, self.expected = url, number, stop, expected
        self.failures: list[str] = []
        self.seen: Counter[tuple[str, int | None]] = Counter()

    def run(self) -> None:
        model = ("faces", "posts")[self.number % 2]
        with plain_client(self.url) as client:
            for turn in itertools.count(self.number):
                if self.stop.is_set():
                    return
                chosen = [(turn + k) % 6 for k in range(1 + turn % 3)]
                try:
                    self.ask(client, model, chosen)
                except httpx.HTTPError as error:
                    self.failures.append(repr(error))

    def ask(self, client: httpx.Client, model: str, chosen: list[int]) -> None:
        body = {"inputs": [as_item(INPUTS[model][n]) for n in chosen]}
        response = client.post(f"/v1/models/{model}/predict", json=body)
        if response.status_code != 200:
            self.failures.append(response.text)
            return
        for n, answer in zip(chosen, response.json()["predictions"], strict=True):
            version = answer["trigger"]["version"]
            self.seen[model, version] += 1
            wanted = self.expected[model, version][n]
            if answer["scores"] != pytest.approx(wanted["scores"], abs=1e-5) or answer["trigger"] != wanted["trigger"]:
                self.failures.append(f"{model} v{version} input {n}: {answer} is not {wanted}")


def expected_answers(client: httpx.Client) -> dict[Any, Any]:
    """Answers by (model, version), each asked for explicitly."""
    return {
        (model, version): predict(client, model, inputs, trigger="none" if version is None else f"v{version}")
        for model, inputs in INPUTS.items()
        for version in (None, 1, 2, 3)
    }


def swap_under_load(served: Process, seconds: float, swaps: int) -> None:
    expected, stop = expected_answers(served.client), threading.Event()
    distinct = {(model, str(answers[0]["scores"])) for (model, _), answers in expected.items()}
    assert len(distinct) == 8, "the versions must answer differently for this test to mean anything"
    clients = [Client(served.client.base_url, number, stop, expected) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    started, etags = time.monotonic(), {m: served.client.get(f"/v1/models/{m}/rollout").headers["etag"] for m in INPUTS}
    for n in range(swaps):
        time.sleep(max(0.0, started + n * seconds / swaps - time.monotonic()))
        model, version = ("faces", "posts")[n % 2], ("v1", "v2", "v3", None)[n // 2 % 4]
        headers = ADMIN | {"If-Match": etags[model]}
        answer = served.client.put(f"/v1/models/{model}/rollout", json={"champion": version}, headers=headers)
        assert answer.status_code == 200, answer.text
        assert answer.json()["applied_champion"] == version
        etags[model] = answer.headers["etag"]
    time.sleep(max(0.0, started + seconds - time.monotonic()))
    stop.set()
    for client in clients:
        client.join(60)
    assert [failure for client in clients for failure in client.failures][:5] == []
    seen: Counter[tuple[str, int | None]] = sum((client.seen for client in clients), Counter())
    assert set(seen) == set(expected), seen
    assert seen.total() > 10 * swaps


def test_swaps_under_load(served: Process) -> None:
    swap_under_load(served, seconds=3, swaps=40)


@pytest.mark.soak
def test_200_swaps_in_20_seconds_under_load(served: Process) -> None:
    swap_under_load(served, seconds=20, swaps=200)
