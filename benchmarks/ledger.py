"""What live statistics cost: reading a window, adding to a count, and predictions with and without them.

    python -m benchmarks.ledger                          # a file
    python -m benchmarks.ledger --address redis://...    # a Redis that may be filled
    python -m benchmarks.ledger --model BUNDLE --body INPUT   # requests per second, statistics on and off (needs wrk)

Windows are read from a ledger of 90 days in which every minute of the last 8 days, and every hour before, has counts of
8 groups, 2 labels or none, 2 predictions and 2 versions: 96 cells each.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load import need_wrk
from benchmarks.process_tree import cpu_seconds
from service.engine import Scored
from service.engine.prediction_log import PredictionLog
from service.fairness import Disclosure, DisclosureRule, TimeWindows
from service.ledger import Cell, Ledger, PredictionIdCodec
from service.ledger.backend import CountBatch
from service.ledger.prediction_id import new_sealing_key, parse_sealing_key
from service.telemetry import Metrics
from triggers.model.decision import DecisionRule

GROUPS, DAYS, FINE_DAYS = 8, 90, 8


def cells(minute: int) -> dict[Cell, int]:
    """The counts of one minute: 96 cells."""
    combinations = itertools.product((1, 2), range(GROUPS), (None, 0, 1), (0, 1))
    return {Cell("m", minute, v, f"group {g}", y, h, None): 20 + g for v, g, y, h in combinations}


def fill(ledger: Ledger, now: int) -> None:
    """90 days of counts, straight into the store."""
    old = range(now - DAYS * 1440, now - FINE_DAYS * 1440, 60)
    for number, minute in enumerate([*old, *range(now - FINE_DAYS * 1440, now + 1)], start=1):
        groups = frozenset(("m", f"group {g}") for g in range(GROUPS))
        ledger._store.apply(ledger._run, CountBatch(number, time.time(), cells(minute), groups, None))
    ledger._batches = number


def median_ms(call: Callable[[], object], repeats: int = 15) -> float:
    """Milliseconds of the median call, after one that warms up."""
    call()
    took = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        took.append(time.perf_counter() - began)
    return statistics.median(took) * 1e3


def windows(address: str, folder: Path) -> None:
    """Fill a ledger and time its windows, exact and as everybody sees them."""
    with Ledger(address, runs=folder / "runs", busy_seconds=30) as ledger:
        began = time.perf_counter()
        fill(ledger, int(time.time() // 60))
        print(f"filled in {time.perf_counter() - began:.0f} s: {address.split('@')[-1]}")
        disclosure = Disclosure(ledger, DisclosureRule(epsilon=1.0), lambda model: 2)
        reader = TimeWindows(ledger, disclosure)
        began = time.perf_counter()
        reader.read("m", "1h", exact=False)
        print(f"first disclosure of {FINE_DAYS} days  {(time.perf_counter() - began) * 1e3:9.1f} ms")
        print("window      exact        disclosed")
        for window in ("1h", "24h", "7d", "30d", "90d", "all"):
            times = [median_ms(lambda w=window, e=exact: reader.read("m", w, exact=e)) for exact in (True, False)]  # type: ignore[misc]
            print(f"{window:5}  {times[0]:9.2f} ms  {times[1]:9.2f} ms")


def counting() -> None:
    """What one prediction pays on the request path."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("on", "off"):
            with Ledger(Path(folder) / "ledger.sqlite") as ledger:
                receipts = PredictionIdCodec([parse_sealing_key(new_sealing_key(), "here")])
                counts = PredictionLog(
                    "m", ("no", "yes"), DecisionRule(1), ledger, receipts, Metrics(), on=name == "on"
                )
                answer = Scored((0.2, 0.8), 1, "digest", 1, None)
                took = median_ms(lambda c=counts, a=answer: [c.record_prediction(a, "a") for _ in range(2000)])  # type: ignore[misc]
                print(f"counting a prediction, statistics={name}: {took / 2:.2f} us")


@dataclass(frozen=True)
class Round:
    """One short load: answered requests per second, and server CPU time per request in microseconds."""

    rate: float
    cpu_us: float


@dataclass(frozen=True)
class Target:
    """A running service and where it is loaded."""

    url: str
    pid: int

    def load(self, script: Path, seconds: int) -> Round:
        """With wrk, 16 connections; any answer but 200 is an error."""
        command = [need_wrk(), "-t1", "-c16", f"-d{seconds}s", "-s", str(script), self.url]
        before = cpu_seconds(self.pid)
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        used = cpu_seconds(self.pid) - before
        if "Non-2xx" in text:
            raise SystemExit(f"Not every request succeeded: {text}")
        rate, answered = re.search(r"Requests/sec:\s+([\d.]+)", text), re.search(r"(\d+) requests in", text)
        assert rate and answered, text
        return Round(float(rate[1]), 1e6 * used / int(answered[1]))


@contextmanager
def serving(model: Path, folder: Path, on: str) -> Iterator[tuple[str, int]]:
    """`python -m service` on a free port; yields its address and process."""
    options = {"model": model, "store": folder / "store", "data-dir": folder / on, "port": 0, "statistics": on}
    options |= {"allow-factories": "fairtrigger.demo"}
    command = [sys.executable, "-m", "service", *(word for k, v in options.items() for word in (f"--{k}", str(v)))]
    log = folder / f"{on}.log"
    with log.open("w") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:
        try:
            while not (found := re.search(r"docs (http://\S+)/docs", log.read_text())):
                if process.poll() is not None:
                    raise SystemExit(log.read_text())
                time.sleep(0.05)
            yield found[1], process.pid
        finally:
            process.terminate()


def throughput(model: Path, body: Path, kind: str, pairs: int, seconds: int) -> None:
    """Requests per second with statistics on and off: many short pairs of rounds, whose ratios a busy neighbour spares.

    Which of the two goes first changes from pair to pair.
    """
    need_wrk()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        script = folder / "post.lua"
        script.write_text(
            f'wrk.method = "POST"; wrk.headers["Content-Type"] = "{kind}"\n'
            f'local file = io.open("{body.resolve()}", "rb"); wrk.body = file:read("*a"); file:close()\n'
        )
        path = f"/v1/models/{json.loads((model / 'model.json').read_text())['name']}/predict?group=a"
        targets = {}
        for on in ("on", "off"):
            url, pid = stack.enter_context(serving(model, folder, on))
            targets[on] = Target(url + path, pid)
            targets[on].load(script, 2)  # warms up
        rounds: dict[str, list[Round]] = {"on": [], "off": []}
        for pair in range(pairs):
            for on in ("on", "off") if pair % 2 else ("off", "on"):
                rounds[on].append(targets[on].load(script, seconds))
    for name, found in rounds.items():
        rate, cpu = (statistics.median(getattr(each, what) for each in found) for what in ("rate", "cpu_us"))
        print(f"statistics={name:3}  {rate:6.0f} requests/s, {cpu:6.0f} us of the server's CPU each")
    turns = list(zip(rounds["on"], rounds["off"], strict=True))
    for what, ratios in (
        ("requests per second, on / off", [on.rate / off.rate for on, off in turns]),
        ("CPU per request, off / on", [off.cpu_us / on.cpu_us for on, off in turns]),
    ):
        median, low, high = compared(ratios)
        print(f"{what}: median {median:.3f} ({low:.3f} to {high:.3f}) of {pairs} pairs")


def compared(ratios: Sequence[float]) -> tuple[float, float, float]:
    """The median, and its distribution-free 95 % interval: two of the ordered ratios."""
    ordered, n = sorted(ratios), len(ratios)
    first = max(math.floor((n - 1.96 * math.sqrt(n)) / 2), 0)
    return statistics.median(ordered), ordered[first], ordered[n - 1 - first]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ledger", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--address", help="redis://... of a server that may be filled; by default a new file")
    parser.add_argument("--model", type=Path, help="a model bundle: measure throughput under --body instead")
    parser.add_argument("--body", type=Path, help="the input that is sent, a file")
    parser.add_argument("--kind", default="text/plain", help="its media type")
    parser.add_argument("--pairs", type=int, default=30, help="rounds with statistics and without, by turns")
    parser.add_argument("--seconds", type=int, default=1, help="of one round")
    chosen = parser.parse_args(arguments)
    if chosen.model:
        throughput(chosen.model, chosen.body, chosen.kind, chosen.pairs, chosen.seconds)
        return
    with tempfile.TemporaryDirectory() as folder:
        windows(chosen.address or f"{folder}/ledger.sqlite", Path(folder))
    counting()


if __name__ == "__main__":
    main()
