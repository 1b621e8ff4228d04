"""Packed files and tables of other formats, known by their first bytes and refused with what to do about them."""

from __future__ import annotations

from pathlib import Path

from triggers.errors import DataError

PACKED = {
    b"\x1f\x8b": "compressed with gzip; unpack it (gunzip) and name the unpacked file",
    b"BZh": "compressed with bzip2; unpack it (bunzip2) and name the unpacked file",
    b"\xfd7zXZ": "compressed with xz; unpack it (unxz) and name the unpacked file",
    b"\x28\xb5\x2f\xfd": "compressed with zstd; unpack it (unzstd) and name the unpacked file",
    b"PK\x03\x04": "a ZIP archive or an Excel workbook; unzip it, or save the table as CSV, and name that",
    b"\xd0\xcf\x11\xe0": "an Excel workbook; save the table as CSV",
    b"Rar!": "a RAR archive; unpack it and name the folder",
    b"7z\xbc\xaf": "a 7z archive; unpack it and name the folder",
    b"PAR1": 'a Parquet file; set data.format = "parquet"',
}


def refuse_packed(path: Path, head: bytes) -> None:
    """Raise DataError where a file that should hold plain text, or be a plain tar file, begins as another kind."""
    for magic, kind in PACKED.items():
        if head.startswith(magic):
            raise DataError(f"{path} is {kind}.")
