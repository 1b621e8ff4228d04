"""TOML tables to dataclasses: the parts of it that the configuration has no key for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path

import pytest
from pydantic.dataclasses import dataclass

from trainer.tables import STRICT, ConfigPath, build, parse_override, put
from triggers.errors import ConfigError


@dataclass(frozen=True, config=STRICT)
class Inner:
    folder: ConfigPath | None = None
    options: Mapping[str, str | int | float | bool] = field(default_factory=dict)


@dataclass(frozen=True, config=STRICT)
class Outer:
    inner: Inner
    size: int | float = 1


def test_nested_sections_keep_their_types(tmp_path: Path) -> None:
    table = {"inner": {"folder": "a/b", "options": {"n": 3, "on": True, "x": 0.5, "s": "t"}}, "size": 0.25}
    built = build(Outer, table, tmp_path)
    assert built == Outer(Inner(tmp_path / "a/b", {"n": 3, "on": True, "x": 0.5, "s": "t"}), 0.25)


def test_a_mapping_refuses_a_list_and_names_the_place(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"inner\.options\.n must be"):
        build(Outer, {"inner": {"options": {"n": [1]}}}, tmp_path)


def test_an_absolute_path_stays(tmp_path: Path) -> None:
    assert build(Inner, {"folder": "/somewhere"}, tmp_path).folder == Path("/somewhere")


@pytest.mark.parametrize(
    ("text", "value"),
    [("a.b=1", 1), ("a.b=1.5", 1.5), ("a.b=word", "word"), ("a.b = two words ", "two words"), ("a.b=x=y", "x=y")],
)
def test_override_values(text: str, value: object) -> None:
    assert parse_override(text) == (["a", "b"], value)


def test_put_makes_missing_sections() -> None:
    table: dict[str, object] = {}
    put(table, ["a", "b"], 1)
    put(table, ["a", "c"], 2)
    assert table == {"a": {"b": 1, "c": 2}}
