"""A pandas data frame as a table that is read once; pandas itself is not imported."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from trainer.data.sources.bad_rows import BadRecord
from trainer.data.sources.tables.table import Record, record_of

FRAME_ROWS = 256
"""Rows taken out of a frame at a time."""


class FrameTable:
    """The rows of a frame; columns of bytes, or of mappings with `bytes`, hold images."""

    notes: Sequence[str] = ()

    def __init__(self, frame: Any) -> None:
        self._frame = frame
        self.names: Sequence[str] = [str(name) for name in frame.columns]

    def kind(self, column: str) -> str:
        """What a column holds, by its first value."""
        values = self._frame[column].dropna()
        first = values.iloc[0] if len(values) else ""
        if isinstance(first, bytes | dict):
            return "image"
        return "text" if isinstance(first, str) else type(first).__name__

    def class_names(self, column: str) -> tuple[str, ...]:
        """None: classes are the values themselves."""
        return ()

    def size(self) -> int:
        """The number of rows."""
        return len(self._frame)

    def inputs(self, columns: Collection[str], column: str) -> Iterator[tuple[Record | BadRecord, Any]]:
        """The columns of all rows, each beside its input."""
        wanted = list({*columns, column})
        for start in range(0, len(self._frame), FRAME_ROWS):
            for values in self._frame[wanted].iloc[start : start + FRAME_ROWS].to_dict("records"):
                given = values[column]
                yield record_of(values, columns), given if isinstance(given, str | bytes | dict) else None

    def where(self, row: int) -> str:
        """The row, numbered from 1."""
        return f"the data frame, row {row + 1}"
