"""Swaps under load, measured: `OMP_NUM_THREADS=1 python -m tests.service.swapping --swaps 1000`.

Clients ask all the time while rollouts with champions, challengers, shadows and twins follow each other. Checked for
every answer: status 200; the scores are those of the version that it names; its policy is that of the rollout whose
revision it names; and no request that was sent after a swap was confirmed is answered by the rollout before.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.artifacts import IMAGE_KINDS, artifact_for
from tests.bundles import image_bundle
from tests.service.live import ADMIN, picture, predict, process
from triggers.model import load_bundle
from triggers.store.file_store import FileStore

KINDS = tuple(IMAGE_KINDS)[:3]
PICTURE = picture(0)
PLANS: tuple[dict[str, Any], ...] = (
    {"champion": "v1"},
    {"champion": "v2", "challenger": {"version": "v1", "share": 0.5}, "shadow": {"versions": ["v3"], "share": 0.5}},
    {"champion": "v3", "twin_share": 0.5},
    {"champion": None, "challenger": {"version": "v2", "share": 0.3}, "shadow": {"versions": ["v1", "v2", "v3"]}},
)
Scores = dict[str, float]


@dataclass
class Load(threading.Thread):
    """One client that asks until told to stop; keeps failures, and when it first saw each revision."""

    address: str
    number: int
    expected: dict[int | None, Scores]
    confirmed: list[int]  # [the newest revision that a swap was confirmed for]
    stop: threading.Event
    failures: list[str] = field(default_factory=list)
    first_seen: dict[int, float] = field(default_factory=dict)
    answers: int = 0

    def __post_init__(self) -> None:
        super().__init__(daemon=True)

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        """Ask, check, again."""
        connection = http.client.HTTPConnection(self.address, timeout=30)
        for turn in itertools.count():
            if self.stop.is_set():
                break
            at_least = self.confirmed[0]
            headers = {"Content-Type": "image/png", "X-Request-Key": f"{self.number}-{turn}"}
            try:
                connection.request("POST", "/v1/models/faces/predict", PICTURE, headers)
                reply = connection.getresponse()
                body = reply.read()
            except OSError as error:
                self.failures.append(repr(error))
                return
            self.answers += 1
            self.check(reply.status, body, at_least)
        connection.close()

    def check(self, status: int, body: bytes, at_least: int) -> None:
        """Note what is wrong with an answer."""
        if status != 200:
            self.failures.append(f"{status}: {body[:300]!r}")
            return
        document = json.loads(body)
        revision, answer = document["revision"], document["predictions"][0]
        self.first_seen.setdefault(revision, time.monotonic())
        version, policy = answer["trigger"]["version"], answer["policy"]
        wanted = self.expected[version]
        if any(abs(answer["scores"][label] - score) > 1e-5 for label, score in wanted.items()):
            self.failures.append(f"scores are not those of {version}: {answer}")
        if revision < at_least:
            self.failures.append(f"revision {revision} after {at_least} was confirmed")
        if revision and version not in _may_answer(revision, policy):
            self.failures.append(f"revision {revision} has no {policy} {version}")


def _plan(revision: int) -> dict[str, Any]:
    return PLANS[revision % len(PLANS)]


def _may_answer(revision: int, policy: str) -> set[int | None]:
    plan = _plan(revision)
    name = plan["champion"] if policy == "champion" else plan["challenger"]["version"]
    return {None if name is None else int(name[1:])}


@dataclass(frozen=True)
class Report:
    """What came of it; times in milliseconds, sorted."""

    swaps: int
    answers: int
    failures: list[str]
    to_first_answer: list[float]
    to_confirmation: list[float]

    def __str__(self) -> str:
        lines = [f"{self.swaps} swaps, {self.answers} answers, {len(self.failures)} failed or wrong"]
        for name, times in (("first answer", self.to_first_answer), ("confirmation", self.to_confirmation)):
            p50, p99 = (times[int(len(times) * share)] for share in (0.5, 0.99))
            lines.append(f"swap to {name}: p50 {p50:.1f} ms, p99 {p99:.1f} ms, most {times[-1]:.1f} ms")
        return "\n".join(lines)


def swap_under_load(client: httpx.Client, *, swaps: int, pause: float, clients: int) -> Report:
    """Swap at revision 0, 1, 2, ... while clients ask."""
    versions = (None, 1, 2, 3)
    expected = {
        version: predict(client, "faces", [PICTURE], trigger=f"v{version}" if version else "none")[0]["scores"]
        for version in versions
    }
    assert len({str(scores) for scores in expected.values()}) == len(versions), "the versions must answer differently"
    confirmed, stop, address = [0], threading.Event(), client.base_url.netloc.decode()
    loads = [Load(address, number, expected, confirmed, stop) for number in range(clients)]
    for load in loads:
        load.start()
    sent: dict[int, float] = {}
    confirmation = []
    for revision in range(swaps):
        time.sleep(pause)
        sent[revision + 1] = time.monotonic()
        headers = ADMIN | {"If-Match": f'"{revision}"'}
        answer = client.put("/v1/models/faces/rollout", json=_plan(revision + 1), headers=headers)
        assert answer.status_code == 200, answer.text
        confirmed[0] = revision + 1
        confirmation.append((time.monotonic() - sent[revision + 1]) * 1e3)
    time.sleep(0.3)
    stop.set()
    for load in loads:
        load.join(60)
    seen = [_first_answer(loads, revision) for revision in sent]
    first = sorted((at - sent[revision]) * 1e3 for revision, at in zip(sent, seen, strict=True))
    failures = [failure for load in loads for failure in load.failures]
    return Report(swaps, sum(load.answers for load in loads), failures, first, sorted(confirmation))


def _first_answer(loads: list[Load], revision: int) -> float:
    """When the first answer of a revision came, or of a later one if the next swap was faster than any request."""
    return min(at for load in loads for number, at in load.first_seen.items() if number >= revision)


def main() -> None:
    """Start a service of its own and swap."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--swaps", type=int, default=1000)
    parser.add_argument("--pause", type=float, default=0.03, help="seconds between two swaps")
    parser.add_argument("--clients", type=int, default=4)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle = image_bundle(folder / "faces")
        with FileStore(folder / "store") as store:
            for seed, kind in enumerate(KINDS):
                store.publish(artifact_for(load_bundle(bundle), kind, seed), actor="test")
        with process(folder, [bundle], torch_threads=1) as served:
            report = swap_under_load(served.client, swaps=chosen.swaps, pause=chosen.pause, clients=chosen.clients)
        with FileStore(folder / "store") as store:
            store.verify_history("faces")
    sys.stdout.write(f"{report}\n" + "".join(f"  {failure}\n" for failure in report.failures[:5]))
    sys.exit(bool(report.failures))


if __name__ == "__main__":
    main()
