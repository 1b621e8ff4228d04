"""Live fairness as flat rows: one figure each, with its interval, its rows and the reason where there is none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fairtrigger.client.data_frames import data_frame

_RATES = ("selection_rate", "accuracy", "true_positive_rate", "false_positive_rate")


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
            {"version": "none" if name == "bare" else name, "shadow": shadow, **row}
            for shadow, part in ((False, "versions"), (True, "shadows"))
            for name, version in self.document[part].items()
            for row in _version_rows(version)
        ]

    def frame(self) -> Any:
        """The rows as a pandas DataFrame. Raises ConfigError without pandas."""
        return data_frame(self.rows())


def _version_rows(version: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for rate in _RATES:
        yield _row("", "", rate, version["overall"][rate])
    for attribute, part in (("", version), *version["attributes"].items()):
        for group, report in part["groups"].items():
            for rate in _RATES:
                yield _row(attribute, group, rate, report[rate])
        for gap, found in part["gaps"].items():
            yield _row(attribute, "", gap, found)


def _row(attribute: str, group: str, figure: str, found: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: found[key] for key in ("value", "low", "high", "n", "reason")}
    return {"attribute": attribute, "group": group, "figure": figure, **kept}
