"""A tracker in memory."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from trainer.progress.figure_journal import TrackedFigure
from trainer.progress.run_tracker import Ending


class MemoryTracker:
    """A tracker that remembers, and fails while it is told to."""

    place = "memory"

    def __init__(self) -> None:
        self.works, self.tries = threading.Event(), 0
        self.works.set()
        self.batches: list[list[TrackedFigure]] = []
        self.endings: list[Ending] = []

    def log_figures(self, figures: Sequence[TrackedFigure]) -> None:
        self.tries += 1
        if not self.works.is_set():
            raise RuntimeError("gone.")
        self.batches.append(list(figures))

    def log_facts(self, facts: Mapping[str, str]) -> None: ...

    def log_files(self, folder: Path, files: Sequence[Path]) -> None: ...

    def end(self, ending: Ending) -> None:
        if not self.works.is_set():
            raise RuntimeError("gone.")
        self.endings.append(ending)

    def steps(self) -> list[int]:
        """Steps in the order in which they came."""
        return [one.step for batch in self.batches for one in batch]
