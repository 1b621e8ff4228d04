"""Columns out of file paths, by a pattern such as `{split}/{label}/{group}_*.jpg`."""

from __future__ import annotations

import re

from triggers.errors import ConfigError

PART = re.compile(r"\{(?P<name>[^{}:]+)(:(?P<choices>[^{}]+))?\}|(?P<star>\*)|(?P<text>[^{}*]+)|(?P<wrong>.)")


class PathPattern:
    """A pattern of whole paths: `{name}` is a column, `{name:a|b}` one of those values, `*` anything, within a folder.

    A column ends at the first character like the one that follows it in the pattern. Raises ConfigError.
    """

    def __init__(self, pattern: str) -> None:
        parts = list(PART.finditer(pattern.strip("/")))
        self.names = tuple(match["name"] for match in parts if match["name"])
        problem = next((f"{match[0]!r} has no meaning there" for match in parts if match["wrong"]), "")
        if len(set(self.names)) != len(self.names):
            problem = "a column is there twice"
        if not self.names:
            problem = problem or "it names no {column}"
        if problem:
            example = "{split}/{label}/{group}/*"
            raise ConfigError(f"data.columns_from_path is {pattern!r}: {problem}. Write it like {example!r}.")
        following = [match[0][0] for match in parts[1:]] + [""]
        self._pattern = re.compile("".join(map(_expression, parts, following)))

    def columns(self, path: str) -> dict[str, str] | None:
        """The columns of a path with forward slashes; None if it is not of the pattern."""
        found = self._pattern.fullmatch(path)
        return dict(zip(self.names, map(str.strip, found.groups()), strict=True)) if found else None


def _expression(part: re.Match[str], following: str) -> str:
    if part["choices"]:
        return f"({'|'.join(map(re.escape, part['choices'].split('|')))})"
    if part["name"]:
        end = "" if following in ("{", "*") else re.escape(following)
        return f"([^/{end}]+)"
    return "[^/]*" if part["star"] else re.escape(part["text"])
