"""The record of a score file: JSON on how it was made, in a Parquet file's metadata or in a file beside a CSV."""

from __future__ import annotations

from pathlib import Path

from triggers.errors import DataError

SCORE_METADATA = b"fairtrigger"


def record_beside(path: Path) -> Path:
    """The file of the record of a score file that is no Parquet."""
    return path.with_name(f"{path.name}.json")


def read_score_record(path: Path) -> str | None:
    """The JSON that a score file was written with; None where it has none. Raises DataError."""
    if path.suffix.lower() not in (".parquet", ".pq"):
        beside = record_beside(path)
        return beside.read_text(encoding="utf-8") if beside.is_file() else None
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        found = (pq.read_schema(path).metadata or {}).get(SCORE_METADATA)
    except pa.ArrowException as error:
        raise DataError(f"{path} is no Parquet file: {error}.") from error
    return None if found is None else found.decode()
