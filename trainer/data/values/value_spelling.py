"""Spelling of the values of other people's data: what stands for a missing one, and what differs in nothing else."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Collection, Mapping

from trainer.data.values.number_bins import read_number

MISSING = frozenset(("", "nan", "-nan", "na", "n/a", "#n/a", "none", "null", "<na>", "nat"))
"""What pandas, numpy, spreadsheets and databases write for a missing value, without its case."""
MOST_SHOWN = 8


def is_missing(value: str, names: Collection[str]) -> bool:
    """Whether a value stands for a missing one; one of the configured `names` never does."""
    return value.casefold() in MISSING and value not in names


def spelling_note(key: str, counts: Mapping[str, int], names: Mapping[str, str]) -> tuple[str, ...]:
    """A note on values with different `names` that differ only in case, spacing, Unicode form or as 1 and 1.0.

    `counts` are the rows of each value; `key` is that of the table that would give them one name. () without any.
    """
    alike: dict[str, list[str]] = {}
    for value in sorted(names, key=lambda value: -counts[value]):
        alike.setdefault(_folded(value), []).append(value)
    twins = [values for values in alike.values() if len({names[value] for value in values}) > 1]
    if not twins:
        return ()
    shown = "; ".join(
        " and ".join(f"{value!r} ({counts[value]} rows)" for value in values) for values in twins[:MOST_SHOWN]
    )
    entries = toml_entries({value: names[values[0]] for values in alike.values() for value in values})
    return (f"data: {shown} differ only in spelling and are kept apart; one name for both: {key} = {entries}",)


def toml_entries(table: Mapping[str, str]) -> str:
    """The first entries of a table, as a configuration has them."""
    entries = [f"{json.dumps(key, ensure_ascii=False)} = {json.dumps(table[key], ensure_ascii=False)}" for key in table]
    return f"{{ {', '.join([*entries[:MOST_SHOWN], *(['...'] if len(entries) > MOST_SHOWN else [])])} }}"


def _folded(value: str) -> str:
    number = read_number(value, whole=False)
    if number is not None:
        return repr(number)
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", value).casefold())
    return "".join(each for each in text if unicodedata.category(each) != "Cf" and not each.isspace())
