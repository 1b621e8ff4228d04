"""Life and death of the service, counted: `python -m benchmarks.life sigterm|overload|cancelled [--workers N]`.

sigterm     SIGTERM under load, many times: requests lost, exit status, processes left
overload    three times what it can do: goodput, and how soon the excess is told to come back
cancelled   clients that go away before their turn: how many were computed all the same
"""

from __future__ import annotations

import argparse
import asyncio
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.http_load import Answer, Target, at_rate, by_clients, connections, leave_at_once
from benchmarks.life_models import body, sleeping_bundle

PREDICT = "/v1/models/faces/predict"
START_SECONDS = 120.0


@dataclass(frozen=True)
class Service:
    """A running `python -m service`."""

    popen: subprocess.Popen[bytes]
    host: str
    port: int
    log: Path

    def target(self, path: str = PREDICT) -> Target:
        """One picture to classify."""
        return Target(self.host, self.port, path, body())

    def metric(self, name: str) -> float:
        """A Prometheus sample, summed over its labels."""
        with urllib.request.urlopen(f"http://{self.host}:{self.port}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"fairtrigger_{name}"))

    def family(self) -> list[int]:
        """Process ids of the service and everything it started."""
        return [self.popen.pid, *descendants(self.popen.pid)]


@contextmanager
def started(folder: Path, bundle: Path, *options: str) -> Iterator[Service]:
    """A service on a free port; its whole family is killed when the block ends."""
    log = folder / f"service-{time.monotonic_ns()}.log"
    command = [sys.executable, "-m", "service", "--model", str(bundle), "--port", "0", *options]
    command += ["--allow-factories", "benchmarks"]
    command += ["--store", str(folder / "store"), "--data-dir", str(folder / "data")]
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out) as popen:
        try:
            host, port = _address(popen, log)
            yield Service(popen, host, port, log)
        finally:
            popen.kill()


def _address(popen: subprocess.Popen[bytes], log: Path) -> tuple[str, int]:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and popen.poll() is None:
        if found := re.search(r"docs http://([\d.]+):(\d+)/docs", log.read_text()):
            return found[1], int(found[2])
        time.sleep(0.05)
    raise RuntimeError(f"The service did not start:\n{log.read_text()}")


def descendants(pid: int) -> list[int]:
    """All processes below one, as Linux lists them."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    direct = [int(child) for child in children.read_text().split()] if children.exists() else []
    return direct + [below for child in direct for below in descendants(child)]


@dataclass(frozen=True)
class Ending:
    """What became of one SIGTERM under load."""

    answered: int
    lost: int
    exit_status: int
    left: int
    seconds: float


def end_under_load(service: Service, clients: int, load_seconds: float) -> Ending:
    """SIGTERM in the middle of a closed loop that goes on until nobody listens."""
    family = service.family()

    async def scenario() -> tuple[list[Answer], int, float]:
        load = asyncio.ensure_future(by_clients(service.target(), clients, 120))
        await asyncio.sleep(load_seconds)
        service.popen.send_signal(signal.SIGTERM)
        told = time.monotonic()
        status = await asyncio.to_thread(service.popen.wait, 60)
        ended = time.monotonic() - told
        return await load, status, ended

    answers, status, seconds = asyncio.run(scenario())
    good = sum(answer.status == 200 for answer in answers)
    return Ending(good, len(answers) - good, status, sum(map(alive, family)), seconds)


def alive(pid: int) -> bool:
    """Whether a process runs (a dead one that nobody waited for does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@dataclass(frozen=True)
class Overload:
    """Requests a second, and seconds until the excess was told."""

    capacity: float
    offered: float
    goodput: float
    told: list[float]
    other: Counter[int]
    retry_after: Counter[int]


def overload(service: Service, factor: float, seconds: float) -> Overload:
    """Measure the capacity with many clients, then offer `factor` times as much."""
    started = time.perf_counter()
    answers = asyncio.run(by_clients(service.target(), 64, seconds))
    capacity = sum(answer.status == 200 for answer in answers) / (time.perf_counter() - started)
    answers = asyncio.run(at_rate(service.target(), factor * capacity, seconds))
    good = sum(answer.status == 200 for answer in answers)
    excess = [answer for answer in answers if answer.status == 503]
    statuses = Counter(answer.status for answer in answers if answer.status not in (200, 503))
    span = seconds + statistics.median(answer.seconds for answer in answers if answer.status == 200)
    retries = Counter(answer.retry_after or 0 for answer in excess)
    return Overload(
        capacity, factor * capacity, good / span, sorted(each.seconds for each in excess), statuses, retries
    )


@dataclass(frozen=True)
class Cancelled:
    """Clients that left, how many of them the service saw leave, inputs it took out of the queue, rows it computed."""

    left: int
    seen: int
    dropped: int
    computed: int


def cancel(service: Service, clients: int, at_once: int, stay_seconds: float = 0.5) -> Cancelled:
    """Clients that leave while the model is busy for somebody else, `at_once` at a time; the others are not counted."""
    names = ('requests_total{code="499"', "items_dropped_total", "batch_size_sum")
    before = [service.metric(name) for name in names]
    waves = clients // at_once

    async def wave() -> None:
        async with connections(service.target()) as pool:
            busy = asyncio.ensure_future(pool.ask(time.perf_counter()))
            await asyncio.sleep(0.1)
            await leave_at_once(service.target(), at_once, stay_seconds)
            assert (await busy).status == 200

    for _ in range(waves):
        asyncio.run(wave())
    seen, dropped, computed = (round(service.metric(name) - old) for name, old in zip(names, before, strict=True))
    return Cancelled(waves * at_once, seen, dropped, computed - waves)


def main() -> None:
    """Run one experiment and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", choices=["sigterm", "overload", "cancelled"])
    parser.add_argument("--workers", default="0", help="HTTP processes (0: the single process)")
    parser.add_argument("--times", type=int, default=20, help="how many SIGTERMs")
    parser.add_argument("--clients", type=int, default=10_000, help="how many clients that leave")
    chosen = parser.parse_args()
    options = ["--http-workers", chosen.workers] if chosen.workers != "0" else []
    with tempfile.TemporaryDirectory() as folder:
        {"sigterm": _sigterm, "overload": _overload, "cancelled": _cancelled}[chosen.experiment](
            Path(folder), options, chosen
        )


def _sigterm(folder: Path, options: list[str], chosen: argparse.Namespace) -> None:
    bundle = sleeping_bundle(folder / "faces", 0.005)
    endings = []
    for number in range(chosen.times):
        with started(folder, bundle, "--drain-seconds", "0.3", *options) as service:
            endings.append(end_under_load(service, clients=16, load_seconds=1.0))
        print(f"{number + 1}: {endings[-1]}", flush=True)
    print(
        f"{len(endings)} x SIGTERM, {sum(each.answered for each in endings)} requests answered, "
        f"{sum(each.lost for each in endings)} lost, exit statuses {sorted({each.exit_status for each in endings})}, "
        f"{sum(each.left for each in endings)} processes left"
    )


def _overload(folder: Path, options: list[str], chosen: argparse.Namespace) -> None:
    bundle = sleeping_bundle(folder / "faces", 0.1)
    limits = ["--max-batch", "8", "--queue-size", "64", "--max-items-per-request", "8"]
    with started(folder, bundle, *limits, *options) as service:
        found = overload(service, 3.0, 10.0)
    told = found.told
    print(
        f"capacity {found.capacity:.0f}/s, offered {found.offered:.0f}/s, goodput {found.goodput:.0f}/s "
        f"({found.goodput / found.capacity:.1%}); {len(told)} x 503 within {statistics.median(told) * 1e3:.1f} ms "
        f"(p50), {told[int(0.99 * len(told))] * 1e3:.1f} ms (p99), {told[-1] * 1e3:.1f} ms (max); "
        f"Retry-After {dict(found.retry_after)}; other answers {dict(found.other)}"
    )


def _cancelled(folder: Path, options: list[str], chosen: argparse.Namespace) -> None:
    bundle = sleeping_bundle(folder / "faces", 3.0)
    with started(folder, bundle, *options) as service:
        found = cancel(service, chosen.clients, 200)
    print(
        f"{found.left} clients left, {found.seen} were seen leaving, {found.dropped} inputs left the queue, "
        f"{found.computed} rows computed"
    )


if __name__ == "__main__":
    main()
