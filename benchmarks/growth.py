"""What might depend on how many versions, releases or groups there are: at 10, 500 and 5,000 versions.

    python -m benchmarks.growth                          # a folder, and a Redis server of its own; minutes
    python -m benchmarks.growth --versions 10 50 --stores file --no-service
    python -m benchmarks.growth --record                 # writes docs/results/performance/growth.json

Every version is published, and every tenth activated, by the store's own methods. Figures are medians in milliseconds:
the store's reads; `first publish` of a process, which looks for files that killed ones left; `declared groups`, which a
service reads when it starts, for the second time; GET routes of a running service, its start, and `fairtrigger list`.
`worst_ratio` is the largest of them at the most versions over the same at the fewest, where it takes a millisecond; a
publish has a goal of its own.
Last: 64 declared groups, four attributes of sixteen values each, crossed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice, product
from pathlib import Path
from typing import Any

from benchmarks.ledger_month import Labels
from benchmarks.own_redis import own_redis
from benchmarks.performance_record import write_record
from benchmarks.served_bundle import bundle, triggers
from benchmarks.served_trigger import sealed
from benchmarks.service_process import service
from service.fairness import FairnessMonitor
from service.ledger import Ledger, PredictionEvent
from service.ledger.declared_groups import Declarations, DeclaredGroups
from triggers.artifact.artifact import TriggerArtifact, make_artifact
from triggers.artifact.manifest import EvaluationCell
from triggers.model import load_bundle
from triggers.rollout.rollout_history import deciding_entry
from triggers.store import Store, open_store

MODEL, SIDE = "bench", 32
ROUTES = ("", "/triggers?limit=10", "/triggers/v5", "/rollout", "/history?limit=10", "/fairness")
NOTICEABLE_MS = 1.0
"""Figures below it are not compared: a ratio of microseconds says little."""
ATTRIBUTES, VALUES = "abcd", 16


def artifacts(folder: Path) -> Iterator[TriggerArtifact]:
    """Artifacts without end, each with a digest and figures of its own."""
    trigger, classifier = triggers("patch", SIDE)[0], load_bundle(folder)
    first = sealed(trigger, classifier, patch_size=max(2, SIDE // 3)).manifest
    rows = product(("val", "test"), (False, True), ("a", "b"), (0, 1), (0, 1))
    cells = tuple(
        EvaluationCell(split=split, trigger=on, group=group, label=label, prediction=guess, count=20 + label + guess)
        for split, on, group, label, guess in rows
    )
    seed = 0
    while True:
        seed += 1
        yield make_artifact(trigger, first.model_copy(update={"seed": seed, "evaluation": cells}))


def median_ms(call: Callable[[], object], repeats: int = 15) -> float:
    """Milliseconds of the median call, after one that warms up."""
    call()
    return statistics.median(_ms(call) for _ in range(repeats))


def _ms(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1e3


def fill(store: Store, more: Iterator[TriggerArtifact], count: int) -> list[float]:
    """Publish up to so many versions, activate every tenth; milliseconds of the latest hundred publishes."""
    latest = store.versions(MODEL, 1)
    took = []
    for number in range(latest[0].version + 1 if latest else 1, count + 1):
        artifact = next(more)
        took.append(_ms(partial(store.publish, artifact, actor="benchmark")))
        if number % 10 == 5:
            store.set_rollout(MODEL, number, if_revision=None, actor="benchmark", reason="")
    return took[-100:]


def reads(url: str, store: Store, more: Iterator[TriggerArtifact], count: int, notes: Path) -> dict[str, float]:
    """The store's reads and changes, each alone."""

    def first_publish() -> float:
        with open_store(url) as fresh:
            return _ms(partial(fresh.publish, next(more), actor="benchmark"))

    def decision() -> None:
        deciding_entry(store.history(MODEL, 1)[0], partial(store.entry, MODEL))

    Declarations(MODEL, store, (), notes).refresh()
    calls: dict[str, Callable[[], object]] = {
        "models": store.models,
        "rollout": partial(store.rollout, MODEL),
        "one version": partial(store.version, MODEL, count // 2),
        "latest versions": partial(store.versions, MODEL, 10),
        "latest history": partial(store.history, MODEL, 10),
        "last decision": decision,
        "activate": partial(store.set_rollout, MODEL, 5, if_revision=None, actor="benchmark", reason=""),
        "declared groups": lambda: Declarations(MODEL, store, (), notes).refresh(),
    }
    found = {name: median_ms(call) for name, call in calls.items()}
    return found | {"first publish": statistics.median(first_publish() for _ in range(3))}


def over_http(url: str, model: Path, folder: Path) -> dict[str, float]:
    """GET routes of a service on this store, its start, and the command that lists versions."""
    found, began = {}, time.perf_counter()
    options = {"store": url, "data_dir": folder / "data"}
    with service(model, options, folder / "service.log") as running:
        found["start"] = (time.perf_counter() - began) * 1e3
        for route in ROUTES:
            address = f"http://127.0.0.1:{running.port}/v1/models/{MODEL}{route}"
            found[f"GET {route or '/'}"] = median_ms(lambda at=address: urllib.request.urlopen(at).read())  # type: ignore[misc]
    command = [sys.executable, "-m", "fairtrigger", "--store", url, "list", "--limit", "10"]
    found["fairtrigger list"] = median_ms(lambda: subprocess.run(command, check=True, capture_output=True), 5)
    return found


@contextmanager
def address(name: str, folder: Path) -> Iterator[str]:
    """A new store of a kind."""
    if name == "file":
        yield (folder / "store").as_uri()
    else:
        with own_redis(folder) as (url, _):
            yield url


def grown(name: str, counts: Sequence[int], *, serve: bool) -> dict[str, Any]:
    """Everything at each number of versions, and what became of it."""
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as text, address(name, Path(text)) as url, open_store(url) as store:
        folder = Path(text)
        model = bundle(folder / "model", SIDE)
        more = artifacts(model)
        for count in counts:
            published = fill(store, more, count)
            found[str(count)] = {"publish": statistics.median(published)} | reads(url, store, more, count, folder)
            if serve:
                found[str(count)] |= over_http(url, model, folder)
            print(f"{name}, {count} versions: {json.dumps({k: round(v, 2) for k, v in found[str(count)].items()})}")
    few, many = found[str(counts[0])], found[str(counts[-1])]
    compared = [key for key in few if "publish" not in key and many[key] >= NOTICEABLE_MS]
    ratios = {key: many[key] / max(few[key], NOTICEABLE_MS) for key in compared}
    worst = max(ratios, key=lambda key: ratios[key], default="nothing")
    return {
        "publish_ms": many["publish"],
        "first_publish_ms": many["first publish"],
        "worst_ratio": ratios.get(worst, 1.0),
        "worst": worst,
        "ratios": ratios,
        "ms": found,
    }


def groups() -> dict[str, float]:
    """Predictions, a flush and a report of a model with 64 declared groups that are crossed over four attributes."""
    names = [f"{attribute}={value}" for attribute in ATTRIBUTES for value in range(VALUES)]
    crossed = list(islice((",".join(each) for each in product(*_by_attribute(names))), 0, None, 97))
    with tempfile.TemporaryDirectory() as folder, Ledger(Path(folder) / "ledger.sqlite", flush_interval=1e6) as ledger:
        ledger.declare(MODEL, DeclaredGroups().with_names(names))
        minute = int(time.time() // 60)

        def predict() -> None:
            for place, name in enumerate(crossed):
                group = ledger.canonical_group(MODEL, name)
                ledger.record(PredictionEvent(MODEL, minute, 1 + place % 4, place % 2, group))

        took = median_ms(predict)
        flush = _ms(ledger.flush)
        monitor = FairnessMonitor(ledger, {MODEL: Labels()})
        document = monitor.fairness_report(MODEL, "24h")
        return {
            "declared": len(names),
            "combinations_sent": len(crossed),
            "counted_groups": len({cell.group for cell in ledger.counts(MODEL, minute, minute + 1)}),
            "prediction_us": took / len(crossed) * 1e3,
            "flush_ms": flush,
            "report_ms": median_ms(lambda: monitor.fairness_report(MODEL, "24h"), 3),
            "series_ms": median_ms(lambda: monitor.fairness_series(MODEL, "24h"), 3),
            "report_kb": len(json.dumps(document)) / 1e3,
        }


def _by_attribute(names: Sequence[str]) -> list[list[str]]:
    return [[name for name in names if name.startswith(f"{attribute}=")] for attribute in ATTRIBUTES]


def table(found: dict[str, Any], counts: Sequence[int]) -> str:
    """A Markdown table of one store."""
    heads = [f"{count:,} versions" for count in counts]
    rows = [f"| ms | {' | '.join(heads)} |", f"| --- |{' ---: |' * len(heads)}"]
    rows += [
        f"| {name} | {' | '.join(f'{found[str(count)][name]:.2f}' for count in counts)} |"
        for name in found[str(counts[0])]
    ]
    return "\n".join(rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and record if asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--versions", type=int, nargs="+", default=[10, 500, 5000], help="the fewest first, 10 or more")
    parser.add_argument("--stores", nargs="+", choices=("file", "redis"), default=["file", "redis"])
    parser.add_argument("--service", action=argparse.BooleanOptionalAction, default=True, help="routes and commands")
    parser.add_argument("--record", action="store_true", help="write docs/results/performance/growth.json")
    words = list(sys.argv[1:] if arguments is None else arguments)
    chosen = parser.parse_args(words)
    found: dict[str, Any] = {name: grown(name, chosen.versions, serve=chosen.service) for name in chosen.stores}
    for name in chosen.stores:
        print(f"\n{name}: worst ratio {found[name]['worst_ratio']:.2f} ({found[name]['worst']})")
        print(table(found[name]["ms"], chosen.versions))
    found["groups"] = groups()
    print(f"\n64 groups crossed: {json.dumps({key: round(value, 2) for key, value in found['groups'].items()})}")
    if chosen.record:
        print(write_record("growth", ["benchmarks.growth", *words], found))


if __name__ == "__main__":
    main()
