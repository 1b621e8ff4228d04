"""A configuration as a TOML file again, so that a report holds what reproduces it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def toml_text(config: Mapping[str, Any]) -> str:
    """`to_dict`'s tables as TOML; sections that are not there and keys without a value are left out."""
    parts = []
    for section, table in config.items():
        if table is None:
            continue
        lines = [f"{key} = {_value(value)}" for key, value in table.items() if value is not None and value != []]
        parts.append("\n".join([f"[{section}]", *lines]))
    return "\n\n".join(parts) + "\n"


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)} = {_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
