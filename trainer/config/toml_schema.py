"""Run configurations as TOML: strict pydantic types for their sections, `--set` overrides, errors that name the key."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_type_hints

import tomli_w
from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    GetPydanticSchema,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
)
from pydantic_core import ErrorDetails, PydanticCustomError, core_schema

from triggers.errors import ConfigError

_T = TypeVar("_T")
STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
"""Rules of every section: unknown keys, other types, NaN and infinity are refused."""


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value if isinstance(value, tuple) else (value,)


def _numbers_or_auto(value: Any, numbers: ValidatorFunctionWrapHandler) -> Any:
    if isinstance(value, str) and value != "auto":
        raise PydanticCustomError("numbers_or_auto", "neither numbers nor auto")
    return value if value == "auto" else numbers(value)


def _under_root(path: Path, info: ValidationInfo) -> Path:
    return path if info.context is None else info.context / path.expanduser()


OneOrMore = Annotated[tuple[_T, ...], BeforeValidator(_as_tuple)]
"""A list in TOML; a single value is a list of one."""
NumbersOrAuto = Annotated[
    tuple[float, ...] | Literal["auto"],
    GetPydanticSchema(
        lambda _, handler: core_schema.no_info_wrap_validator_function(_numbers_or_auto, handler(OneOrMore[float]))
    ),
]
"""A number or a list of numbers, or "auto"."""
ConfigPath = Annotated[Path, AfterValidator(_under_root)]
"""A path; in a file, a relative one starts from the file's folder."""

_EXPECTED = {
    "int": "a whole number",
    "float": "a number",
    "finite_number": "a number",
    "string": "a string",
    "bool": "true or false",
    "path": "a path (a string)",
    "dict": "a section of keys",
    "numbers_or_auto": 'a number, a list of numbers or "auto"',
}


def build(cls: type[_T], table: Mapping[str, Any], root: Path) -> _T:
    """An instance of a strict dataclass from parsed TOML, its relative paths under `root`. Raises ConfigError."""
    try:
        return TypeAdapter(cls).validate_json(json.dumps(table), context=root)
    except ValidationError as error:
        raise ConfigError(_message(cls, error.errors())) from error
    except TypeError as error:
        raise ConfigError(f"A date or time has no meaning here: {error}.") from error


def to_toml(table: Mapping[str, Any]) -> str:
    """The TOML text of `to_dict`'s sections, without values that are None or empty."""
    sections = {name: section for name, section in table.items() if section is not None}
    stated = {
        name: {key: value for key, value in section.items() if value is not None and value not in ([], {})}
        for name, section in sections.items()
    }
    return tomli_w.dumps(stated)


def parse_override(text: str) -> tuple[list[str], Any]:
    """The path and TOML value of `a.b=1`; a bare word is a string. Raises ConfigError."""
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


def different(section: str, strengths: tuple[float, ...]) -> None:
    """Raise ConfigError unless the strengths of a section are distinct numbers, 0 or more."""
    if not strengths or min(strengths) < 0 or len(set(strengths)) != len(strengths):
        raise ConfigError(f"{section}.strengths is {list(strengths)}; give different numbers, 0 or more.")


def _message(cls: type[Any], errors: Sequence[ErrorDetails]) -> str:
    """The first error of a table in one line; an unknown key comes first, as it often explains a missing one."""
    first = next((each for each in errors if each["type"] == "unexpected_keyword_argument"), errors[0])
    *above, key = names = _named(first, errors)
    place, value = _dotted(names), f"{first['input']!r} (a {_kind(first['input'])})"
    kind = first["type"].removesuffix("_type").removesuffix("_parsing")
    if kind == "unexpected_keyword_argument":
        return f"Unknown key {place!r}; {_nearest(str(key), _keys(cls, above))}"
    if kind in ("missing", "missing_argument"):
        what = f"section [{place}]" if not above else f"key {place}"
        return f"The {what} is missing. See `python -m trainer --example`."
    if kind == "literal_error":
        return f"{place} is {value}; {first['msg'].replace('Input should be', 'choose')}{_hint(first)}."
    if kind in ("greater_than", "greater_than_equal"):
        bound = "more than 0" if kind == "greater_than" else "0 or more"
        return f"{place} is {first['input']}; it must be {bound}."
    if kind in ("dataclass", "mapping", "dict"):
        return f"{place} is a section of keys, not {value}."
    same_place = [each["type"].removesuffix("_type") for each in errors if _named(each, errors)[: len(names)] == names]
    wanted = " or ".join(dict.fromkeys(_EXPECTED.get(each, each) for each in same_place))
    return f"{place} must be {wanted}, not {value}."


def _named(error: ErrorDetails, errors: Sequence[ErrorDetails]) -> list[int | str]:
    """The keys and places of an error's location."""
    return [part for part in error["loc"] if not _is_member(part, errors)]


def _is_member(part: int | str, errors: Sequence[ErrorDetails]) -> bool:
    """Whether a part of an error's location names a member of a union rather than a key."""
    plain = str(part).partition("[")[0]
    return plain in ("int", "float", "str", "bool", "dict", "function-before") and len(errors) > 1


def _dotted(names: Sequence[int | str]) -> str:
    return "".join(f"[{each}]" if isinstance(each, int) else f".{each}" for each in names).removeprefix(".")


def _keys(cls: type[Any], above: Sequence[int | str]) -> list[str]:
    """The keys of the section that an error's location lies in."""
    for name in above:
        hint = get_type_hints(cls)[str(name)]
        cls = next(each for each in (hint, *get_args(hint)) if isinstance(each, type) and is_dataclass(each))
    return [each.name for each in fields(cls)]


def _nearest(key: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}."


def _hint(error: ErrorDetails) -> str:
    choices = [each.strip("'") for each in error["ctx"]["expected"].replace(" or ", ", ").split(", ")]
    near = difflib.get_close_matches(str(error["input"]), choices, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _kind(value: Any) -> str:
    kinds = {bool: "true/false", str: "string", int: "whole number", float: "number", list: "list", dict: "section"}
    return kinds.get(type(value), type(value).__name__)
