"""The figures of a run in a file of its output folder, one line a step, written before any tracker has them.

What a kill takes from a tracker's queue is here, and comes again when the run goes on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from triggers.storage import write_atomically


@dataclass(frozen=True)
class TrackedFigure:
    """A figure of a step; `moment` is in milliseconds since 1970."""

    name: str
    step: int
    value: float
    moment: int


class FigureJournal:
    """The file. A run that goes on repeats some steps, with the same figures: these are not new."""

    def __init__(self, path: Path, note: Callable[[str], None], *, keep: bool) -> None:
        """Go on with the file's figures, which are `earlier`, or with none of them. Raises OSError."""
        self._note = note
        self.earlier: Sequence[TrackedFigure] = _figures(path.read_bytes()) if keep and path.exists() else ()
        self._latest: dict[str, int] = {}
        new = self._only_new(self.earlier)
        write_atomically(path, _lines(new))  # without the half line that a kill left
        self._file = path.open("ab", buffering=0)

    def add(self, figures: Iterable[TrackedFigure]) -> list[TrackedFigure]:
        """Write the figures that are new, and return them. A full disk is said once."""
        new = self._only_new(figures)
        try:
            if new and not self._file.closed:
                self._file.write(_lines(new))
        except OSError as error:
            self._file.close()
            self._note(f"{self._file.name} cannot be written ({error.strerror}): a kill may lose figures now.")
        return new

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _only_new(self, figures: Iterable[TrackedFigure]) -> list[TrackedFigure]:
        new = [one for one in figures if one.step > self._latest.get(one.name, -1)]
        self._latest |= {one.name: one.step for one in new}
        return new


def _lines(figures: Sequence[TrackedFigure]) -> bytes:
    """A line for every run of figures of one step and moment."""
    lines: dict[tuple[int, int], dict[str, float]] = {}
    for one in figures:
        lines.setdefault((one.step, one.moment), {})[one.name] = one.value
    return b"".join(json.dumps([*key, values]).encode() + b"\n" for key, values in lines.items())


def _figures(content: bytes) -> list[TrackedFigure]:
    """The figures of whole lines; a line that cannot be read ends them."""
    found: list[TrackedFigure] = []
    for line in content.splitlines():
        try:
            step, moment, values = json.loads(line)
            found += [TrackedFigure(str(name), int(step), float(value), int(moment)) for name, value in values.items()]
        except (ValueError, TypeError, AttributeError):
            break
    return found
