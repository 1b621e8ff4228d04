"""The children of a service of several processes, and a client that loads them."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import httpx

from benchmarks.life import descendants
from tests.artifacts import artifact_for
from tests.bundles import image_bundle, text_bundle
from tests.service.live import Process, picture, plain_client, wait_until
from triggers.model import load_bundle
from triggers.store.file_store import FileStore

PREDICT = "/v1/models/faces/predict"
MODULES = {"inference": "service.workers.engine_server", "http": "service.workers.http_worker"}
"""What the children of a service run, by their role."""


def faces_and_posts(folder: Path, kinds: Sequence[str] = ("border",) * 3) -> list[Path]:
    """An image and a text bundle; of the former a trigger of each kind in the store."""
    found = [image_bundle(folder / "faces"), text_bundle(folder / "posts")]
    with FileStore(folder / "store") as store:
        for seed, kind in enumerate(kinds):
            store.publish(artifact_for(load_bundle(found[0]), kind, seed), actor="test")
    return found


def children(service: Process, role: str) -> list[int]:
    found, module = descendants(service.popen.pid), MODULES[role].encode()
    return [pid for pid in found if module in Path(f"/proc/{pid}/cmdline").read_bytes()]


def fresh(service: Process) -> httpx.Client:
    return plain_client(service.client.base_url)


class Load(threading.Thread):
    """A client that opens a new connection per request and counts what comes of it; `params` go into the address."""

    def __init__(self, service: Process, **params: str) -> None:
        super().__init__()
        self.service, self.params, self.stop = service, params, threading.Event()
        self.seen: Counter[int] = Counter()
        self.hints: set[str | None] = set()

    def run(self) -> None:
        while not self.stop.is_set():
            with fresh(self.service) as client:
                try:
                    headers = {"Content-Type": "image/png"}
                    answer = client.post(PREDICT, params=self.params, content=picture(0), headers=headers)
                except httpx.TransportError:
                    self.seen[0] += 1
                    continue
                self.seen[answer.status_code] += 1
                if answer.status_code == 503:
                    self.hints.add(answer.headers.get("retry-after"))

    def __enter__(self) -> Load:
        self.start()
        wait_until(lambda: self.seen[200] > 3)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.join(30)
