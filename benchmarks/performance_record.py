"""What a benchmark found, as a JSON file of docs/results/performance: one file for each benchmark, with its command,
machine and date. `python -m benchmarks.check` compares its figures with their goals."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RECORDS = Path(__file__).parent.parent / "docs" / "results" / "performance"


@dataclass(frozen=True)
class PerformanceRecord:
    """The figures of one benchmark, JSON-ready and perhaps nested: `redis.flush_ms` names one."""

    benchmark: str
    command: str
    machine: str
    date: str
    figures: Mapping[str, Any]

    def figure(self, path: str) -> float | None:
        """The number under a path of names with dots between, None if it was not measured."""
        found: Any = self.figures
        for name in path.split("."):
            found = found.get(name) if isinstance(found, Mapping) else None
        return float(found) if isinstance(found, int | float) else None


def write_record(
    benchmark: str, command: Sequence[str], figures: Mapping[str, Any], *, folder: Path = RECORDS, gpu: str = ""
) -> Path:
    """Write BENCHMARK.json, in place of an earlier one; `command` are the words after `python -m`."""
    day = datetime.now(UTC).date().isoformat()
    record = PerformanceRecord(benchmark, " ".join(["python -m", *command]), machine_name(gpu), day, figures)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{benchmark}.json"
    path.write_text(json.dumps(asdict(record), indent=2) + "\n")
    return path


def read_records(folder: Path = RECORDS) -> dict[str, PerformanceRecord]:
    """Every record of a folder, by benchmark. Raises ValueError for a file that is none."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        try:
            record = PerformanceRecord(**json.loads(path.read_text()))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path} is no record of a benchmark: {error}.") from error
        found[record.benchmark] = record
    return found


def machine_name(gpu: str = "") -> str:
    """Cores that this process may use, the processor's name, memory, and the GPU, if one was used."""
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    parts = [f"{len(os.sched_getaffinity(0))} cores of {_processor()}", f"{size:.0f} GiB", *([gpu] if gpu else [])]
    return ", ".join(parts)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
