"""TOML tables to frozen dataclasses: unknown keys refused with the nearest known one, wrong types with their place."""

from __future__ import annotations

import difflib
import math
import tomllib
import types
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from triggers.errors import ConfigError

T = TypeVar("T")

NAMES = {str: "a string", int: "a whole number", float: "a number", bool: "true or false", Path: "a path (a string)"}


def build(cls: type[T], table: Mapping[str, Any], root: Path, place: str = "") -> T:
    """Build dataclass `cls` from a parsed table. `place` is the dotted path for messages. Raises ConfigError."""
    hints = get_type_hints(cls)
    known = {field.name: field for field in fields(cls) if field.init}  # type: ignore[arg-type]
    _refuse_unknown(table, known, place)
    for name, field in known.items():
        if name not in table and field.default is MISSING and field.default_factory is MISSING:
            what = f"section [{_join(place, name)}]" if is_dataclass(hints[name]) else f"key {_join(place, name)}"
            raise ConfigError(f"The {what} is missing. See `python -m trainer --example`.")
    return cls(**{name: _convert(hints[name], value, root, _join(place, name)) for name, value in table.items()})


def parse_override(text: str) -> tuple[list[str], Any]:
    """Split `a.b=1` into its path and its TOML value; a bare word is a string. Raises ConfigError."""
    path, equals, value = text.partition("=")
    keys = [key.strip() for key in path.split(".")]
    if not equals or not all(keys):
        raise ConfigError(f"Cannot read --set {text!r}; write it like --set train.steps=200.")
    try:
        return keys, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return keys, value.strip()


def put(table: dict[str, Any], keys: list[str], value: Any) -> None:
    """Set `table[k0][k1]... = value`, adding missing tables. Raises ConfigError where the path meets a value."""
    for depth, key in enumerate(keys[:-1], start=1):
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            raise ConfigError(f"--set {'.'.join(keys)}: {'.'.join(keys[:depth])} is a value, not a section.")
    table[keys[-1]] = value


def positive(section: str, owner: object, *names: str) -> None:
    """Raise ConfigError unless these numbers of a section are more than 0; None passes."""
    for name in names:
        value = getattr(owner, name)
        if value is not None and value <= 0:
            raise ConfigError(f"{section}.{name} is {value}; it must be more than 0.")


def different(section: str, strengths: tuple[float, ...]) -> None:
    """Raise ConfigError unless the strengths of a section are different numbers, 0 or more."""
    if not strengths or min(strengths) < 0 or len(set(strengths)) != len(strengths):
        raise ConfigError(f"{section}.strengths is {list(strengths)}; give different numbers, 0 or more.")


def _refuse_unknown(table: Mapping[str, Any], known: Iterable[str], place: str) -> None:
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, list(known), n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}."
            raise ConfigError(f"Unknown key {_join(place, key)!r}; {hint}")


def _convert(hint: Any, value: Any, root: Path, place: str) -> Any:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return _convert_union(hint, value, root, place)
    if origin is Literal:
        return _convert_choice(get_args(hint), value, place)
    if origin is tuple:
        items = value if isinstance(value, list) else [value]
        return tuple(_convert(get_args(hint)[0], item, root, f"{place}[{i}]") for i, item in enumerate(items))
    if is_dataclass(hint) or origin is not None:
        if not isinstance(value, dict):
            raise ConfigError(f"{place} is a section of keys, not {_show(value)}.")
        if is_dataclass(hint):
            return build(hint, value, root, place)  # type: ignore[arg-type]
        return {key: _convert(get_args(hint)[1], item, root, _join(place, key)) for key, item in value.items()}
    return _convert_scalar(hint, value, root, place)


def _convert_union(hint: Any, value: Any, root: Path, place: str) -> Any:
    """`X | None` is X, for TOML has no null; `int | float` and the like keep the value's own type."""
    members = [member for member in get_args(hint) if member is not type(None)]
    if len(members) == 1:
        return _convert(members[0], value, root, place)
    if type(value) in members and _is_finite(value):
        return value
    wanted = " or ".join(NAMES[member] for member in members)
    raise ConfigError(f"{place} must be {wanted}, not {_show(value)}.")


def _convert_choice(choices: tuple[Any, ...], value: Any, place: str) -> Any:
    if value in choices:
        return value
    near = difflib.get_close_matches(str(value), [str(choice) for choice in choices], n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ConfigError(f"{place} is {_show(value)}; {hint}Choose one of: {', '.join(map(str, choices))}.")


def _convert_scalar(hint: Any, value: Any, root: Path, place: str) -> Any:
    if hint is Path and isinstance(value, str) and value:
        return root / Path(value).expanduser()
    if hint is float and type(value) in (int, float) and _is_finite(value):
        return float(value)
    if hint is not Path and type(value) is hint and hint is not float:
        return value
    raise ConfigError(f"{place} must be {NAMES[hint]}, not {_show(value)}.")


def _is_finite(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def _show(value: Any) -> str:
    kinds = {bool: "true/false", str: "string", int: "whole number", float: "number", list: "list", dict: "section"}
    return f"{value!r} (a {kinds.get(type(value), type(value).__name__)})"


def _join(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key
