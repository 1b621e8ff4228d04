"""The score file: one row per input row and version, as Parquet or CSV, with a record of how it was made."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fairtrigger.score_record import SCORE_METADATA, read_score_record, record_beside
from fairtrigger.scoring.version_choice import ScoringVersion
from trainer.data import InputRow
from triggers.errors import ConfigError, DataError
from triggers.storage import write_atomically

ROW_GROUP = 65_536
"""Rows of a row group in the final Parquet file, at least, and rows read back at a time."""


class ScoredRows(NamedTuple):
    """Some rows, their scores (N, V, labels) and the indices of their labels (N, V)."""

    rows: Sequence[InputRow]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class ScoreLayout:
    """The columns of a score file; `groups` are its group columns, `threshold` that of the decision."""

    labels: Sequence[str]
    versions: Sequence[ScoringVersion]
    threshold: float | None
    groups: Sequence[str]

    @property
    def names(self) -> list[str]:
        """All columns in their order."""
        figures = [f"score_{label}" for label in self.labels]
        return ["row", "id", "label", *figures, "version", "digest", "threshold", *self.groups, "truth"]

    def columns(self, scored: ScoredRows) -> dict[str, Any]:
        """The values of every column: all versions of a row, then the next row."""
        rows, each, count = scored.rows, len(self.versions), len(scored.rows)

        def per_row(values: Sequence[Any]) -> list[Any]:
            return list(chain.from_iterable(repeat(value, each) for value in values))

        return {
            "row": per_row([row.number + 1 for row in rows]),
            "id": per_row([row.id for row in rows]),
            "label": [self.labels[at] for at in scored.labels.ravel().tolist()],
            **{f"score_{label}": scored.scores[..., at].ravel() for at, label in enumerate(self.labels)},
            "version": [version.name for version in self.versions] * count,
            "digest": [version.digest for version in self.versions] * count,
            "threshold": [self.threshold] * (each * count),
            **{name: per_row([row.groups[at] for row in rows]) for at, name in enumerate(self.groups)},
            "truth": per_row([None if row.label is None else self.labels[row.label] for row in rows]),
        }


class ScoreFormat(Protocol):
    """A kind of score file."""

    suffix: str

    def part(self, layout: ScoreLayout, scored: Sequence[ScoredRows]) -> bytes:
        """A file of some rows."""

    def assemble(self, layout: ScoreLayout, parts: Sequence[Path], temporary: Path, out: Path, record: str) -> None:
        """Write the final file from its parts by way of a temporary file, one part after the other."""

    def batches(self, out: Path) -> Iterator[Mapping[str, Sequence[Any]]]:
        """The columns of a final file, some rows at a time."""


def score_format(out: Path) -> ScoreFormat:
    """The format that a file's name asks for. Raises ConfigError."""
    formats: Mapping[str, type[ScoreFormat]] = {".parquet": ParquetScores, ".csv": CsvScores}
    if out.suffix.lower() not in formats:
        raise ConfigError(f"{out} names no kind of score file: end it in .parquet or .csv.")
    return formats[out.suffix.lower()]()


def read_scores(out: Path | str) -> tuple[dict[str, Any], Iterator[Mapping[str, Sequence[Any]]]]:
    """The record of a score file, and its columns some rows at a time. Raises DataError."""
    path = Path(out)
    kind = score_format(path)
    text = read_score_record(path) if path.is_file() else None
    if text is None:
        raise DataError(f"{path} is no score file: fairtrigger score writes them.")
    return json.loads(text), kind.batches(path)


class ParquetScores(ScoreFormat):
    """Parquet; the record is in the file's metadata, under `fairtrigger`."""

    suffix = ".parquet"

    def __init__(self) -> None:
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError as error:
            raise ConfigError('Parquet needs an extra: pip install "fairtrigger[parquet]"; or write .csv.') from error

    def part(self, layout: ScoreLayout, scored: Sequence[ScoredRows]) -> bytes:
        """One row group per stretch of rows."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        out, schema = io.BytesIO(), _schema(layout)
        with pq.ParquetWriter(out, schema) as writer:
            for each in scored:
                writer.write_table(pa.table(layout.columns(each), schema=schema))
        return out.getvalue()

    def assemble(self, layout: ScoreLayout, parts: Sequence[Path], temporary: Path, out: Path, record: str) -> None:
        """Row groups of many parts each."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        held: list[Any] = []
        with pq.ParquetWriter(temporary, _schema(layout).with_metadata({SCORE_METADATA: record.encode()})) as writer:
            for part in parts:
                held.append(pq.read_table(part, partitioning=None))
                if sum(len(each) for each in held) >= ROW_GROUP:
                    writer.write_table(_plain(pa.concat_tables(held), writer.schema))
                    held = []
            if held:
                writer.write_table(_plain(pa.concat_tables(held), writer.schema))
        temporary.replace(out)

    def batches(self, out: Path) -> Iterator[Mapping[str, Sequence[Any]]]:
        """Batch by batch."""
        import pyarrow.parquet as pq

        with pq.ParquetFile(out) as file:
            for batch in file.iter_batches(ROW_GROUP):
                yield batch.to_pydict()


class CsvScores(ScoreFormat):
    """CSV; the record is in a file of the same name with .json behind it. Nothing in a field is a missing value."""

    suffix = ".csv"

    def part(self, layout: ScoreLayout, scored: Sequence[ScoredRows]) -> bytes:
        """Lines without a header."""
        out = io.StringIO(newline="")
        writer = csv.writer(out, lineterminator="\n")
        for each in scored:
            columns = layout.columns(each)
            figures = {name: [f"{value:.9g}" for value in columns[name]] for name in columns if name[:6] == "score_"}
            writer.writerows(zip(*(columns | figures).values(), strict=True))
        return out.getvalue().encode()

    def assemble(self, layout: ScoreLayout, parts: Sequence[Path], temporary: Path, out: Path, record: str) -> None:
        """A header and all parts; the record comes first, so that no file is without."""
        with temporary.open("wb") as file:
            header = io.StringIO(newline="")
            csv.writer(header, lineterminator="\n").writerow(layout.names)
            file.write(header.getvalue().encode())
            for part in parts:
                with part.open("rb") as source:
                    shutil.copyfileobj(source, file)
        write_atomically(record_beside(out), record.encode())
        temporary.replace(out)

    def batches(self, out: Path) -> Iterator[Mapping[str, Sequence[Any]]]:
        """Batch by batch; "" becomes None."""
        with out.open(newline="", encoding="utf-8") as file:
            reader = csv.reader(file)
            names = next(reader)
            while rows := [row for row, _ in zip(reader, range(ROW_GROUP), strict=False)]:
                columns = zip(names, zip(*rows, strict=True), strict=True)
                yield {name: [_number(name, value) for value in values] for name, values in columns}


def _number(name: str, value: str) -> Any:
    if value == "":
        return "" if name == "digest" else None
    if name == "row":
        return int(value)
    return float(value) if name == "threshold" or name.startswith("score_") else value


def _schema(layout: ScoreLayout) -> Any:
    import pyarrow as pa

    kinds = {"row": pa.int64(), "threshold": pa.float64(), **{f"score_{each}": pa.float32() for each in layout.labels}}
    return pa.schema([(name, kinds.get(name, pa.string())) for name in layout.names])


def _plain(table: Any, schema: Any) -> Any:
    return table.replace_schema_metadata(schema.metadata)
