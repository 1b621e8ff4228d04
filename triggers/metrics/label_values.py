"""Values that say a label, as data and late reports write them: a name first, then an index."""

from __future__ import annotations

import re
from collections.abc import Sequence

FLAGS = {**dict.fromkeys(("1", "1.0", "true"), True), **dict.fromkeys(("0", "0.0", "-1", "false"), False)}
"""Values, in lower case, that read as 0 or 1."""
_WHOLE = re.compile(r"([0-9]+)(\.0*)?")


def label_index(value: str | int | float | bool, names: Sequence[str]) -> int | None:
    """The index of the label that a value means; None if it means none of `names`.

    A value is one of the names, else the place of a label (`1`, `1.0`), else, of two labels, a flag (`true`, `-1`).
    """
    text = str(value)
    if text in names:
        return names.index(text)
    if number := _WHOLE.fullmatch(text):
        index = int(number[1]) if len(number[1]) < 10 else len(names)
        return index if index < len(names) else None
    flag = FLAGS.get(text.lower()) if len(names) == 2 else None
    return None if flag is None else int(flag)
