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
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from service.counting import Counting
from service.disclosure import Disclosure, Rule
from service.event import Cell
from service.ledger import Ledger
from service.ledger_store import Batch
from service.metrics import Metrics
from service.predictor import Answer
from service.receipts import Receipts, new_key, parse_key
from service.windows import Windows

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
        ledger._store.apply(ledger._run, Batch(number, time.time(), cells(minute), groups, None))
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
        disclosure = Disclosure(ledger, Rule(), lambda model: 2)
        reader = Windows(ledger, disclosure)
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
                receipts = Receipts([parse_key(new_key(), "here")])
                counts = Counting("m", ("no", "yes"), ledger, receipts, Metrics(), on=name == "on")
                answer = Answer((0.2, 0.8), 1, "digest", 1, None)
                took = median_ms(lambda c=counts, a=answer: [c.predicted(a, "a") for _ in range(2000)])  # type: ignore[misc]
                print(f"counting a prediction, statistics={name}: {took / 2:.2f} us")


def rate(url: str, script: Path, seconds: int) -> float:
    """Requests per second that wrk gets through; any answer but 200 is an error."""
    command = ["wrk", "-t1", "-c16", f"-d{seconds}s", "-s", str(script), url]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in text:
        raise SystemExit(f"Not every request succeeded: {text}")
    found = re.search(r"Requests/sec:\s+([\d.]+)", text)
    assert found, text
    return float(found[1])


@contextmanager
def serving(model: Path, folder: Path, on: str) -> Iterator[str]:
    """`python -m service` on a free port; yields its address."""
    options = {"model": model, "store": folder / "store", "data-dir": folder / on, "port": 0, "statistics": on}
    command = [sys.executable, "-m", "service", *(word for k, v in options.items() for word in (f"--{k}", str(v)))]
    log = folder / f"{on}.log"
    with log.open("w") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:
        try:
            while not (found := re.search(r"docs (http://\S+)/docs", log.read_text())):
                if process.poll() is not None:
                    raise SystemExit(log.read_text())
                time.sleep(0.05)
            yield found[1]
        finally:
            process.terminate()


def throughput(model: Path, body: Path, kind: str, rounds: int, seconds: int) -> None:
    """Requests per second with statistics on and off, by turns, and the ratio."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        script = folder / "post.lua"
        script.write_text(
            f'wrk.method = "POST"; wrk.headers["Content-Type"] = "{kind}"\n'
            f'local file = io.open("{body.resolve()}", "rb"); wrk.body = file:read("*a"); file:close()\n'
        )
        path = f"/v1/models/{json.loads((model / 'model.json').read_text())['name']}/predict?group=a"
        urls = {on: stack.enter_context(serving(model, folder, on)) + path for on in ("on", "off")}
        rates: dict[str, list[float]] = {"on": [], "off": []}
        for turn in range(rounds + 1):
            for on in ("on", "off") if turn % 2 else ("off", "on"):
                found = rate(urls[on], script, seconds)
                if turn:  # the first turn warms up
                    rates[on].append(found)
        for on, found_rates in rates.items():
            print(f"statistics={on:3}  {statistics.median(found_rates):8.0f} requests/s  of {sorted(found_rates)}")
        ratios = [a / b for a, b in zip(rates["on"], rates["off"], strict=True)]
        print(f"on / off: median {statistics.median(ratios):.3f} of {[round(each, 3) for each in ratios]}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ledger", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--address", help="redis://... of a server that may be filled; by default a new file")
    parser.add_argument("--model", type=Path, help="a model bundle: measure throughput under --body instead")
    parser.add_argument("--body", type=Path, help="the input that is sent, a file")
    parser.add_argument("--kind", default="text/plain", help="its media type")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=int, default=4)
    chosen = parser.parse_args(arguments)
    if chosen.model:
        throughput(chosen.model, chosen.body, chosen.kind, chosen.rounds, chosen.seconds)
        return
    with tempfile.TemporaryDirectory() as folder:
        windows(chosen.address or f"{folder}/ledger.sqlite", Path(folder))
    counting()


if __name__ == "__main__":
    main()
