"""From a command to the first answer, and the memory this takes: the service beside its peers, commands, imports.

    python -m benchmarks.first_answer                      # peers get environments of their own
    python -m benchmarks.first_answer --demo demo-out      # with the models of `make demo` as well
    python -m benchmarks.first_answer --no-peers --rounds 1
    python -m benchmarks.first_answer --record             # writes docs/results/performance/first_answer.json

A server is started, asked again and again until it answers with 200, measured, and ended; rounds go through all of them
in turn, and medians count. Memory is that of all its processes, shared pages once. Commands are timed in CPU seconds
beside `python -c pass`. A process that speaks HTTP in front of engine processes holds a second copy of the weights if
its own memory grows by more than half of them from the tiny model to ResNet-18.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from typing import Any

from benchmarks.peers.model import SIZES
from benchmarks.performance_record import write_record
from benchmarks.process_tree import memory_mb, tree
from benchmarks.serve_models import make_bundle, make_store
from benchmarks.servers import OURS, ROOT, Plan, free_port, our_plan, peer_plan
from benchmarks.service_process import runs

PEERS = ("LitServe", "MLServer")
MODULES = ("fairtrigger", "triggers.store", "triggers.model", "service.app", "trainer.train")
COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "fairtrigger --help": ["-m", "fairtrigger", "--help"],
    "fairtrigger list": ["-m", "fairtrigger", "--store", "STORE", "list"],
    "fairtrigger show": ["-m", "fairtrigger", "--store", "STORE", "show", "tiny"],
    "python -m service --help": ["-m", "service", "--help"],
    "python -m trainer --help": ["-m", "trainer", "--help"],
}
POLL_SECONDS, MOST_SECONDS = 0.02, 180.0


@dataclass(frozen=True)
class Answered:
    """Seconds until a server's first answer, MB of all its processes then, and MB that each HTTP worker has alone."""

    seconds: float
    mb: float
    worker_mb: tuple[float, ...] = ()


def first_answer(plan: Plan, folder: Path) -> Answered:
    """Start, ask until it answers, measure, end."""
    with _started(plan, folder) as (process, began):
        while not _answers(plan):
            if process.poll() is not None or time.perf_counter() > began + MOST_SECONDS:
                raise RuntimeError(f"{plan.name} does not answer; see {folder}.")
            time.sleep(POLL_SECONDS)
        seconds = time.perf_counter() - began
        workers = [pid for pid in tree(process.pid) if runs(pid, "service.workers.http_worker")]
        return Answered(seconds, memory_mb(process.pid), tuple(_own_mb(pid) for pid in workers))


@contextmanager
def _started(plan: Plan, folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], float]]:
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environment = os.environ | {"PYTHONPATH": paths}
    with (folder / f"{plan.name}.log").open("wb") as log:
        began = time.perf_counter()
        process = subprocess.Popen(plan.command, stdout=log, stderr=log, env=environment, cwd=folder)
    try:
        yield process, began
    finally:
        left = tree(process.pid)
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pid in left[1:]:  # some peers leave children behind
            if Path(f"/proc/{pid}").exists():
                os.kill(pid, 9)


def _answers(plan: Plan) -> bool:
    try:
        request = urllib.request.Request(plan.url, plan.body, {"Content-Type": _media(plan)})
        with urllib.request.urlopen(request, timeout=10):
            return True
    except (urllib.error.URLError, OSError):
        return False


def _media(plan: Plan) -> str:
    return "application/json" if plan.body.startswith(b"{") else "text/plain"


def _own_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1e3


def plans(folder: Path, peers: bool) -> dict[str, list[Plan]]:
    """The servers of each model."""
    found: dict[str, list[Plan]] = {}
    for model in SIZES:
        bundle, store = make_bundle(folder / model, model), folder / f"store-{model}"
        make_store(store, bundle)
        place = folder / f"run-{model}"
        place.mkdir()
        ours = [our_plan(bundle, store, place, 0), our_plan(bundle, store, place, 0, http_workers=2)]
        ours += [our_plan(bundle, store, place, 0, http_workers=2, devices="cpu")]
        found[model] = ours + ([peer_plan(name, bundle, place) for name in PEERS] if peers else [])
    return found


def demo_plans(out: Path, folder: Path) -> list[Plan]:
    """One service with both models of the demo, and asked for a comment."""
    port = free_port()
    command = [sys.executable, "-m", "service", "--port", str(port), "--store", str(out / "store")]
    command += ["--data-dir", str(folder / "demo-data"), "--allow-factories", "examples.demo"]
    for name in ("digits", "comments"):
        command += ["--model", str(out / name / "model")]
    url = f"http://127.0.0.1:{port}/v1/models/comments/predict"
    return [Plan(OURS, command, url, b"what a fine day")]


def rounds(given: Sequence[Plan], folder: Path, count: int) -> dict[str, dict[str, Any]]:
    """Medians of each server over the rounds."""
    found: dict[str, list[Answered]] = {plan.name: [] for plan in given}
    for _ in range(count):
        for plan in given:
            found[plan.name].append(first_answer(plan, folder))
            print(f"  {plan.name}: {found[plan.name][-1]}", file=sys.stderr, flush=True)
    return {
        name: {
            "seconds": statistics.median(each.seconds for each in answers),
            "mb": statistics.median(each.mb for each in answers),
            "worker_mb": [
                statistics.median(column) for column in zip(*(each.worker_mb for each in answers), strict=True)
            ],
        }
        for name, answers in found.items()
    }


def second_copies(found: dict[str, dict[str, Any]], weights_mb: float) -> int:
    """HTTP workers in front of engine processes whose own memory grows with the model's weights."""
    name = next(name for name in found["tiny"] if name.endswith("cpu"))
    pairs = zip(found["tiny"][name]["worker_mb"], found["resnet18"][name]["worker_mb"], strict=True)
    return sum(large - small > weights_mb / 2 for small, large in pairs)


def commands(store: Path, count: int) -> dict[str, float]:
    """CPU seconds of each command."""
    return {
        name: statistics.median(
            _cpu_seconds([str(store) if word == "STORE" else word for word in words]) for _ in range(count)
        )
        for name, words in COMMANDS.items()
    }


def _cpu_seconds(words: Sequence[str]) -> float:
    before = getrusage(RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    after = getrusage(RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def imports() -> dict[str, dict[str, float]]:
    """Seconds and MB of importing each module in a new process, and its most expensive packages by their own time."""
    return {module: _import(module) for module in MODULES}


def _import(module: str) -> dict[str, float]:
    code = f"import {module}; print(open('/proc/self/status').read().partition('VmRSS:')[2].split()[0])"
    done = subprocess.run([sys.executable, "-X", "importtime", "-c", code], check=True, capture_output=True, text=True)
    own: dict[str, float] = {}
    for line in done.stderr.splitlines():
        if found := re.match(r"import time: +(\d+) \| +\d+ \| +([\w]+)", line):
            own[found[2]] = own.get(found[2], 0.0) + int(found[1]) / 1e6
    dear = sorted(own, key=lambda name: -own[name])[:4]
    return {"seconds": sum(own.values()), "mb": int(done.stdout) / 1e3} | {name: round(own[name], 3) for name in dear}


def summary(found: dict[str, Any]) -> dict[str, Any]:
    """The figures that have goals."""
    told: dict[str, Any] = {}
    timed = found["commands"]
    told["help_seconds_over_python"] = timed["fairtrigger --help"] - timed["python -c pass"]
    told["second_copies_of_weights"] = second_copies(found, found["weights_mb"])
    servers = found["resnet18"]
    if peers := [name for name in PEERS if name in servers]:
        for what, key in (("seconds", "seconds"), ("mb", "mb")):
            told[f"service_over_best_peer_{what}"] = servers[OURS][key] / min(servers[name][key] for name in peers)
    return told


def table(found: dict[str, Any]) -> str:
    """Markdown tables of servers, commands and imports."""
    rows = ["| model | server | s to the first answer | MB |", "| --- | --- | ---: | ---: |"]
    for model in (*SIZES, "demo"):
        for name, each in found.get(model, {}).items():
            rows.append(f"| {model} | {name} | {each['seconds']:.2f} | {each['mb']:,.0f} |")
    rows += ["", "| command | CPU s |", "| --- | ---: |"]
    rows += [f"| `{name}` | {seconds:.2f} |" for name, seconds in found["commands"].items()]
    rows += ["", "| import | s | MB | most of it |", "| --- | ---: | ---: | --- |"]
    for name, each in found["imports"].items():
        dear = ", ".join(f"{key} {value:.2f}" for key, value in each.items() if key not in ("seconds", "mb"))
        rows.append(f"| `{name}` | {each['seconds']:.2f} | {each['mb']:,.0f} | {dear} |")
    return "\n".join(rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and record if asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.first_answer")
    parser.add_argument("--demo", type=Path, help="the folder of `make demo`: its two models as well")
    parser.add_argument(
        "--peers", action=argparse.BooleanOptionalAction, default=True, help="LitServe and MLServer too"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--record", action="store_true", help="write docs/results/performance/first_answer.json")
    words = list(sys.argv[1:] if arguments is None else arguments)
    chosen = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        found: dict[str, Any] = {
            model: rounds(given, folder / f"run-{model}", chosen.rounds)
            for model, given in plans(folder, chosen.peers).items()
        }
        if chosen.demo:
            found["demo"] = rounds(demo_plans(chosen.demo.resolve(), folder), folder, chosen.rounds)
        found["weights_mb"] = (folder / "resnet18" / "weights.safetensors").stat().st_size / 1e6
        found["commands"], found["imports"] = commands(folder / "store-tiny", chosen.rounds), imports()
    found |= summary(found)
    print(table(found))
    if chosen.record:
        print(write_record("first_answer", ["benchmarks.first_answer", *words], found))


if __name__ == "__main__":
    main()
