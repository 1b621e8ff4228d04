"""The history of a run on its way to trackers: figures by step, facts, files and the end, without the run waiting.

Every tracker has a thread that delivers to it. What fails is tried again, said once, and never ends a run.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

from trainer.progress.figure_journal import FigureJournal, TrackedFigure
from trainer.progress.run_figures import final_facts, final_figures

Ending: TypeAlias = Literal["FINISHED", "FAILED", "KILLED"]

FIGURES_AT_ONCE = 1000
"""Figures in one delivery, at most: MLflow's own bound."""
MOST_WAITING = 200_000
"""Figures that wait for a tracker, at most; the oldest go first."""
LONGEST_PAUSE = 60.0
"""Seconds between two tries, at most."""


class Tracker(Protocol):
    """A place that keeps the history of one run. Called on one thread; whatever it raises counts as a failure."""

    place: str

    def log_figures(self, figures: Sequence[TrackedFigure]) -> None:
        """Keep up to FIGURES_AT_ONCE figures."""

    def log_facts(self, facts: Mapping[str, str]) -> None:
        """Keep what is true of the run as a whole."""

    def log_files(self, folder: Path, files: Sequence[Path]) -> None:
        """Keep copies of files in a folder, by their paths in it."""

    def end(self, ending: Ending) -> None:
        """Write down how the run ended."""


class RunTracker:
    """The trackers of one run, called on its thread; nothing waits but `close`.

    They get what the journal holds from before, and what is new.
    """

    def __init__(
        self,
        trackers: Sequence[Tracker],
        note: Callable[[str], None],
        journal: FigureJournal | None = None,
        *,
        pause: float = 1.0,
    ) -> None:
        self._journal = journal
        self._deliveries = [_Delivery(tracker, note, pause) for tracker in trackers]
        for delivery in self._deliveries:
            delivery.add(journal.earlier if journal else ())

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Keep figures of a step; what is not finite is left out."""
        moment = time.time_ns() // 1_000_000
        found = [TrackedFigure(name, step, value, moment) for name, value in figures.items() if isfinite(value)]
        if self._journal:
            found = self._journal.add(found)
        for delivery in self._deliveries:
            delivery.add(found)

    def log_result(self, folder: Path, files: Sequence[Path]) -> None:
        """Keep what a finished run left in its folder: the figures and facts of metrics.json, and the files."""
        summary = json.loads((folder / "metrics.json").read_bytes())
        self.log(summary["steps"], final_figures(summary))
        facts, kept = final_facts(summary), tuple(files)
        for delivery in self._deliveries:
            delivery.do(lambda tracker: tracker.log_facts(facts))
            delivery.do(lambda tracker: tracker.log_files(folder, kept))

    def close(self, ending: Ending) -> None:
        """Deliver what waits, and the ending; a tracker that does not take it is given up and named."""
        for delivery in self._deliveries:
            delivery.do(lambda tracker: tracker.end(ending))
        for delivery in self._deliveries:
            delivery.close()
        if self._journal:
            self._journal.close()


class _Delivery:
    """One tracker, the thread that delivers to it, and what waits."""

    def __init__(self, tracker: Tracker, note: Callable[[str], None], pause: float) -> None:
        self._tracker, self._note, self._pause = tracker, note, pause
        self._figures: deque[TrackedFigure] = deque(maxlen=MOST_WAITING)
        self._jobs: deque[Callable[[Tracker], None]] = deque()
        self._lock, self._wake, self._closing = threading.Lock(), threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"track {tracker.place}", daemon=True)
        self._thread.start()

    def add(self, figures: Sequence[TrackedFigure]) -> None:
        """Deliver figures, soon."""
        with self._lock:
            self._figures.extend(figures)
        self._wake.set()

    def do(self, job: Callable[[Tracker], None]) -> None:
        """Do something with the tracker after all figures that wait now."""
        self._jobs.append(job)
        self._wake.set()

    def close(self) -> None:
        """Return when everything is delivered, or given up."""
        self._closing.set()
        self._wake.set()
        self._thread.join()

    def _work(self) -> None:
        lost, pause = False, self._pause
        while True:
            failure = self._deliver()
            if failure is None:
                lost, pause = False, self._pause
                if self._closing.is_set() and not (self._figures or self._jobs):
                    return
                self._wake.wait()
                self._wake.clear()
                continue
            if not lost:
                self._note(
                    f"{self._tracker.place} takes nothing now: {failure} The run goes on, and it is tried again."
                )
            last, lost = self._closing.is_set(), True
            if last and self._deliver() is not None:
                self._note(f"{self._tracker.place} took nothing to the end; the same command, later, delivers it.")
                return
            self._closing.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _deliver(self) -> Exception | None:
        """Everything that waits, in order; what fails stays."""
        try:
            while self._figures or self._jobs:
                with self._lock:
                    batch = [self._figures.popleft() for _ in range(min(FIGURES_AT_ONCE, len(self._figures)))]
                if batch:
                    self._log(batch)
                else:
                    self._jobs[0](self._tracker)
                    self._jobs.popleft()
        except Exception as error:  # the border between a run and what watches it
            return error
        return None

    def _log(self, batch: Sequence[TrackedFigure]) -> None:
        try:
            self._tracker.log_figures(batch)
        except Exception:
            with self._lock:
                room = MOST_WAITING - len(self._figures)
                self._figures.extendleft(reversed(batch[-room:] if room else []))
            raise
