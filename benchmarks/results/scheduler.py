"""Pieces of the results side by side, each in a process of its own: the longest first, until a time limit."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.results.piece import Piece

POLL = 0.1
"""Seconds between two looks at the processes."""


@dataclass(frozen=True)
class Outcome:
    """Pieces that finished, that failed, and that are left over, by name."""

    finished: tuple[str, ...]
    failed: tuple[str, ...]
    left: tuple[str, ...]


@dataclass
class _Running:
    process: subprocess.Popen[bytes]
    piece: Piece
    began: float
    gpu: int


class Scheduler:
    """Runs pieces in N processes. Pieces of one classifier do not start together while nobody has fitted it."""

    def __init__(
        self,
        command: Callable[[Piece], Sequence[str]],
        logs: Path,
        processes: int,
        prepared: Callable[[Piece], bool],
        gpus: int = 0,
        seconds: float | None = None,
    ) -> None:
        """`command` runs one piece; what it prints goes to a file in `logs`. `prepared`: whether a piece's classifier
        is there. After `seconds` all processes are ended.
        """
        self._command, self._logs, self._processes, self._gpus = command, logs, processes, gpus
        self._until = None if seconds is None else time.monotonic() + seconds
        self._prepared = prepared
        self._running: list[_Running] = []

    def run(self, pieces: Sequence[Piece]) -> Outcome:
        """Run all, or as many as there is time for."""
        self._logs.mkdir(parents=True, exist_ok=True)
        waiting = sorted(pieces, key=lambda piece: -piece.cost)
        finished: list[str] = []
        failed: list[str] = []
        try:
            while (waiting or self._running) and not self._late():
                while len(self._running) < self._processes and (piece := self._next(waiting)):
                    waiting.remove(piece)
                    self._running.append(self._start(piece))
                time.sleep(POLL)
                for one, code in self._ended():
                    (failed if code else finished).append(one.piece.name)
                    said = f"failed ({code}), see {self._log(one.piece)}" if code else "finished"
                    took = time.monotonic() - one.began
                    done = f"{len(finished) + len(failed)} of {len(pieces)}"
                    print(f"{one.piece.name}: {said}, {took:.0f} s, {done}", file=sys.stderr, flush=True)
        finally:
            self._end_all()
        gone = {*finished, *failed}
        return Outcome(tuple(finished), tuple(failed), tuple(p.name for p in pieces if p.name not in gone))

    def _late(self) -> bool:
        return self._until is not None and time.monotonic() >= self._until

    def _next(self, waiting: Sequence[Piece]) -> Piece | None:
        """The longest piece whose classifier is fitted, or that nobody is fitting yet."""
        fitting = {one.piece.base for one in self._running if not self._prepared(one.piece)}
        return next((piece for piece in waiting if piece.base not in fitting), None)

    def _start(self, piece: Piece) -> _Running:
        used = Counter(one.gpu for one in self._running)
        gpu = min(range(max(1, self._gpus)), key=lambda number: used[number])
        threads = str(max(1, (os.cpu_count() or 1) // self._processes))
        environment = {**os.environ, "OMP_NUM_THREADS": threads, "PYTHONUNBUFFERED": "1"}
        if self._gpus:
            environment["CUDA_VISIBLE_DEVICES"] = str(gpu)
        with self._log(piece).open("ab") as log:
            process = subprocess.Popen(self._command(piece), stdout=log, stderr=log, env=environment)
        return _Running(process, piece, time.monotonic(), gpu)

    def _ended(self) -> list[tuple[_Running, int]]:
        ended = [(one, code) for one in self._running if (code := one.process.poll()) is not None]
        self._running = [one for one in self._running if one.process.returncode is None]
        return ended

    def _end_all(self) -> None:
        for one in self._running:
            one.process.terminate()
        for one in self._running:
            one.process.wait()
        self._running = []

    def _log(self, piece: Piece) -> Path:
        return self._logs / f"{piece.name}.log"
