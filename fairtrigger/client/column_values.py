"""Values as columns of tables hold them - numpy's numbers, gaps of several kinds - as JSON has them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def plain_value(value: Any) -> Any:
    """A value as Python's own; None for NaN, NaT and NA, which stand for what is not known."""
    value = value.item() if hasattr(value, "item") else value
    gone = type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and value != value)
    return None if gone else value


def group_names(values: Iterable[Any]) -> list[str | None]:
    """Values as names of groups: numbers too, 1.0 (which 1 becomes in a column with gaps) being 1."""
    return [_name(plain_value(one)) for one in values]


def _name(value: Any) -> str | None:
    if value is None:
        return None
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
