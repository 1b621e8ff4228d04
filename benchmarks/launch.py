"""Starts `benchmarks.scale_worker` under torchrun, again for the pieces that are left if one of them fails or hangs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Timer
from typing import Any

ROOT = Path(__file__).parents[1]

START = 60.0
"""Seconds for interpreters, libraries and the communicator to start."""

SETTINGS = {"OMP_NUM_THREADS": "1", "NCCL_NVLS_ENABLE": "0", "PYTHONUNBUFFERED": "1"}
"""One thread per process unless torch is told otherwise; no NVLink multicast, which containers often forbid."""


def measured(processes: int, pieces: Sequence[str], options: Sequence[str], limit: float) -> Iterator[dict[str, Any]]:
    """What each piece measured with so many processes; of one that fails or takes over `limit` seconds, "failed"."""
    left = list(pieces)
    while left:
        for found in _launched(processes, left, options, limit):
            left.remove(found["piece"])
            yield found
        if left:
            failed = left.pop(0)
            yield {"piece": failed, "processes": processes, "failed": f"failed, or took more than {limit:g} s"}


def _launched(processes: int, pieces: Sequence[str], options: Sequence[str], limit: float) -> Iterator[dict[str, Any]]:
    """Results of one torchrun, as they come, until it ends; it is ended where its workers do not end themselves."""
    torchrun = [
        "torch.distributed.run",
        "--standalone",
        "--local-addr",
        "localhost",
        "--nproc-per-node",
        str(processes),
    ]
    worker = ["-m", "benchmarks.scale_worker", "--pieces", ",".join(pieces), "--limit", str(limit), *options]
    environment = {**os.environ, **SETTINGS}
    command = [sys.executable, "-m", *torchrun, *worker]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT) as process:
        last = Timer(START + len(pieces) * limit, process.terminate)
        last.start()
        try:
            assert process.stdout
            yield from _results(process.stdout, processes)
        finally:
            last.cancel()
            process.terminate()


def _results(lines: Iterator[str], processes: int) -> Iterator[dict[str, Any]]:
    """Results among a worker's lines; what else it says is shown."""
    for line in lines:
        said = json.loads(line) if line.startswith("{") else {}
        if "piece" in said:
            yield said
        else:
            print(f"{processes} processes: {said.get('began', line.rstrip())}", file=sys.stderr, flush=True)
