"""Live fairness, whole or over time, as flat rows: one figure each, with its interval, its rows, why there is none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fairtrigger.client.data_frames import data_frame

_RATES = ("selection_rate", "accuracy", "true_positive_rate", "false_positive_rate")
_NAMES = {"bare": "none"}


@dataclass(frozen=True)
class FairnessFigures:
    """What a service counted in a window; `document` is all that it said, warnings and disclosure included."""

    document: Mapping[str, Any]

    def rows(self) -> list[dict[str, Any]]:
        """One row per figure of every version (`none`: the bare model), shadows too.

        `attribute` is empty for the groups as they were counted. `group` is empty for the figures over everybody and
        for gaps, whose `figure` is the gap's name.
        """
        return [
            {"version": _NAMES.get(name, name), "shadow": shadow, **row}
            for shadow, part in ((False, "versions"), (True, "shadows"))
            for name, version in self.document[part].items()
            for row in _version_rows(version)
        ]

    def frame(self) -> Any:
        """The rows as a pandas DataFrame. Raises ConfigError without pandas."""
        return data_frame(self.rows())


@dataclass(frozen=True)
class FairnessSeries:
    """What a service counted in a window, step by step; `document` is all that it said, with `step` and `points`."""

    document: Mapping[str, Any]

    def rows(self) -> list[dict[str, Any]]:
        """One row per step, version and figure, oldest first; steps in which nothing was predicted are left out.

        `since` and `until` are RFC 3339. `group` is empty for the rates over everybody and for gaps.
        """
        return [
            {"since": point["since"], "until": point["until"], "version": _NAMES.get(name, name), **row}
            for point in self.document["points"]
            for name, found in point["versions"].items()
            for row in _point_rows(found)
        ]

    def frame(self) -> Any:
        """The rows as a pandas DataFrame. Raises ConfigError without pandas."""
        return data_frame(self.rows())


def _point_rows(found: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for group, part in (("", found), *found["groups"].items()):
        for rate in _RATES:
            if rate in part:
                yield _row(group, rate, part[rate])
    for gap, figure in found["gaps"].items():
        yield _row("", gap, figure)


def _version_rows(version: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for rate in _RATES:
        yield {"attribute": "", **_row("", rate, version["overall"][rate])}
    for attribute, part in (("", version), *version["attributes"].items()):
        for group, report in part["groups"].items():
            for rate in _RATES:
                yield {"attribute": attribute, **_row(group, rate, report[rate])}
        for gap, found in part["gaps"].items():
            yield {"attribute": attribute, **_row("", gap, found)}


def _row(group: str, figure: str, found: Mapping[str, Any]) -> dict[str, Any]:
    return {"group": group, "figure": figure, **{key: found[key] for key in ("value", "low", "high", "n", "reason")}}
