"""The parts of a score file that is being made: a folder beside it, from which the same command goes on after a kill.

request.json            what is scored by what; another request is refused
part-A-B.parquet        rows A to B (numbered from 0, without B); there once it is whole
part-A-B.json           its counts, its rows that could not be used, and the digest of the input up to B
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

from triggers.errors import ConfigError
from triggers.storage import write_atomically

REQUEST = "request.json"
LOCK = "lock"
_PART = re.compile(r"part-([0-9]{12})-([0-9]{12})\.(parquet|csv)")


class PartTotals(NamedTuple):
    """What the parts hold in all: rows that were taken from the input, scored, unusable, cut; the input's digest."""

    rows: int = 0
    scored: int = 0
    bad: int = 0
    cut: int = 0
    digest: str = ""


class ScoreParts:
    """The parts of `out`; opened, they belong to this process. Raises ConfigError for those of another request."""

    def __init__(self, out: Path, suffix: str, request: Mapping[str, Any], *, overwrite: bool = False) -> None:
        self.folder, self._out, self._suffix = out.with_name(f"{out.name}.parts"), out, suffix
        self._request, self._overwrite = request, overwrite

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self.folder / LOCK, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            self._take()
        except BaseException:
            os.close(self._lock)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._lock)

    def _take(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(f"Another process is writing {self._out}: wait for it, or name another file.") from error
        path = self.folder / REQUEST
        if self._overwrite or not path.exists():
            for each in self.folder.iterdir():
                if each.name != LOCK:
                    each.unlink()
            write_atomically(path, json.dumps(self._request).encode())
        check_request(json.loads(path.read_bytes()), self._request, f"{self.folder} was begun")
        self._parts = list(self._whole())
        kept = {f"{each.stem}{suffix}" for each in self._parts for suffix in (".json", self._suffix)}
        for each in self.folder.iterdir():
            if each.name not in (*kept, LOCK, REQUEST):  # what a kill left unfinished
                each.unlink()

    def _whole(self) -> Iterator[Path]:
        """The parts that follow each other from the first row on."""
        end = 0
        for path in sorted(self.folder.glob(f"part-*{self._suffix}")):
            match = _PART.fullmatch(path.name)
            if match and int(match[1]) == end:
                end = int(match[2])
                yield path

    @property
    def files(self) -> Sequence[Path]:
        """All parts in order."""
        return self._parts

    @property
    def temporary(self) -> Path:
        """Where the final file may be put together."""
        return self.folder / "assembled"

    def totals(self) -> PartTotals:
        """What the parts hold."""
        counts = [json.loads(path.with_suffix(".json").read_bytes()) for path in self._parts]
        sums = {name: sum(each[name] for each in counts) for name in ("rows", "scored", "cut")}
        bad = sum(len(each["bad"]) for each in counts)
        return PartTotals(**sums, bad=bad, digest=counts[-1]["digest"] if counts else "")

    def bad_rows(self) -> Iterator[Mapping[str, Any]]:
        """The rows that could not be used, in order."""
        for path in self._parts:
            yield from json.loads(path.with_suffix(".json").read_bytes())["bad"]

    def add(
        self, first: int, end: int, data: bytes, bad: Sequence[Mapping[str, Any]], scored: int, cut: int, digest: str
    ) -> None:
        """Write the part of the rows [first, end) to the disk."""
        path = self.folder / f"part-{first:012d}-{end:012d}{self._suffix}"
        counts = {"rows": end - first, "scored": scored, "cut": cut, "digest": digest, "bad": bad}
        write_atomically(path.with_suffix(".json"), json.dumps(counts).encode())
        write_atomically(path, data)
        self._parts.append(path)

    def discard(self) -> None:
        """Remove the folder, once the final file is there."""
        shutil.rmtree(self.folder)


def check_request(before: Mapping[str, Any], now: Mapping[str, Any], what: str) -> None:
    """Raise ConfigError, naming the first difference, unless both requests are the same."""
    for name in now:
        old, new = before.get(name), now[name]
        if old != new:
            raise ConfigError(
                f"{what} otherwise, its {name} was {_shown(old, new)} and is {_shown(new, old)} now: "
                "name another --out, or begin anew with --overwrite."
            )


def _shown(value: Any, other: Any) -> str:
    """A value in short; of two mappings, what differs."""
    if isinstance(value, dict) and isinstance(other, dict):
        value = {key: each for key, each in value.items() if other.get(key) != each}
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 160 else f"{text[:157]}..."
