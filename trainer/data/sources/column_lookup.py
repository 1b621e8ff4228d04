"""Lookup of configured names in the data; an unknown name is refused with the nearest known one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from triggers.errors import DataError


def require_known(name: str, names: Iterable[str], missing: str) -> str:
    """Return `name` if it is one of `names`. Raises DataError that starts with `missing` and lists what is there."""
    names = list(names)
    if name in names:
        return name
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"it has: {', '.join(names) or 'none'}."
    raise DataError(f"{missing}; {hint}")
