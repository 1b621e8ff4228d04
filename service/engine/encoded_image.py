"""A file as one input of a batch, before it is decoded."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, eq=False)
class File:
    """An input that is decoded where it is computed."""

    data: bytes
