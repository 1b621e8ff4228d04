"""The split into base, tuning, val and test: parts that share no content, drawn by content and seed alone.

Rows are ordered by a hash of (seed, content), so the parts depend neither on the order of the data nor on file names;
test is drawn first and base last, so a larger base never changes the test part. Copies of one content stay together:
where a partition puts them into several pools, the evaluation pool keeps its copies and the others are left out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from trainer.config.data_config import SplitConfig
from triggers.errors import DataError

PARTS = ("test", "val", "tuning", "base")
WEIGHTS = {"base": 50, "tuning": 20, "val": 15, "test": 15}
STRICTEST_FIRST = (*PARTS, "train", "")


@dataclass(frozen=True)
class SplitPlan:
    """Row numbers of every part, and how many copies were left out to keep the parts apart."""

    rows: Mapping[str, tuple[int, ...]]
    left_out: int


@dataclass
class _Pool:
    """The rest of a pool: contents in random order, each with the rows of its copies."""

    contents: list[list[int]] = field(default_factory=list)

    def size(self) -> int:
        return sum(map(len, self.contents))

    def draw(self, wanted: int) -> list[int]:
        """Take `wanted` rows. A content with more copies than there is room for is passed over, not cut."""
        rows: list[int] = []
        kept = []
        for copies in self.contents:
            if len(rows) + len(copies) <= wanted:
                rows.extend(copies)
            else:
                kept.append(copies)
        self.contents = kept
        return rows


def split_rows(pools: Sequence[str], contents: Sequence[str], split: SplitConfig) -> SplitPlan:
    """Split N rows given each one's pool ("" or "train": the common one) and content digest. Raises DataError."""
    by_pool, left_out = _pools(pools, contents, split.seed)
    sources = {part: part if part in by_pool else "train" for part in PARTS}
    rows: dict[str, tuple[int, ...]] = {}
    for name, pool in by_pool.items():
        sharing = [part for part in PARTS if sources[part] == name]
        for part, size in _sizes(pool.size(), sharing, split).items():
            drawn = pool.draw(size)
            rows[part] = tuple(sorted(_first(drawn, split.tuning_ratio) if part == "tuning" else drawn))
    return SplitPlan({part: rows.get(part, ()) for part in PARTS}, left_out)


def limit_rows(ids: Sequence[str], limit: int | None, seed: int) -> list[int]:
    """At most `limit` of the rows, in their order, drawn by id and seed before anything is read."""
    rows = range(len(ids))
    if limit is None or limit >= len(ids):
        return list(rows)
    return sorted(sorted(rows, key=lambda row: _draw(seed, f"{ids[row]}#{row}"))[:limit])


def _pools(pools: Sequence[str], contents: Sequence[str], seed: int) -> tuple[dict[str, _Pool], int]:
    copies: dict[str, list[int]] = {}
    for row, content in enumerate(contents):
        copies.setdefault(content, []).append(row)
    by_pool: dict[str, _Pool] = {}
    left_out = 0
    for content in sorted(copies, key=lambda content: _draw(seed, content)):
        rows = copies[content]
        pool = min((pools[row] for row in rows), key=STRICTEST_FIRST.index)
        kept = [row for row in rows if pools[row] == pool]
        left_out += len(rows) - len(kept)
        by_pool.setdefault(pool or "train", _Pool()).contents.append(kept)
    return by_pool, left_out


def _first(drawn: list[int], ratio: float) -> list[int]:
    """The first rows of the tuning part in its random order; the others are not used."""
    if drawn and int(ratio * len(drawn)) == 0:
        raise DataError(f"split.tuning_ratio = {ratio} leaves none of {len(drawn)} rows of the tuning part; raise it.")
    return drawn[: int(ratio * len(drawn))]


def _sizes(available: int, parts: Sequence[str], split: SplitConfig) -> dict[str, int]:
    """Rows for each part of one pool: sizes asked for, then the rest by weight."""
    sizes: dict[str, int] = {}
    for part in parts:
        size = getattr(split, part)
        if size is not None:
            sizes[part] = round(size * available) if isinstance(size, float) else size
    rest = available - sum(sizes.values())
    if rest < 0:
        asked = ", ".join(f"split.{part} = {size}" for part, size in sizes.items())
        raise DataError(f"{asked}: together {available - rest} rows, but their pool has {available}. Ask for fewer.")
    open_parts = [part for part in parts if part not in sizes]
    weight = sum(WEIGHTS[part] for part in open_parts)
    return sizes | {part: rest * WEIGHTS[part] // weight for part in open_parts}


def _draw(seed: int, key: str) -> bytes:
    return hashlib.blake2b(f"{seed}:{key}".encode(), digest_size=16).digest()
