"""The record of one prediction for the fairness statistics, and its cell; it never contains the input."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from triggers.metrics.fairness_report import UNKNOWN

NONCE_BYTES = 12
NO_VERSION = 0
"""Versions begin with 1."""
EventRole = Literal["serve", "shadow", "guard"]


@dataclass(frozen=True)
class PredictionEvent:
    """One prediction. `version` None is the bare model; `bare` is the bare model's prediction for the same input.

    `minute` counts from 1970. `group` must be a result of `Ledger.canonical_group`, so that the prediction id and the
    count agree. `shadows` are (version, prediction) of shadow versions; each becomes an event with the role "shadow",
    counted in a series without served predictions. A `trusted` prediction is counted a second time, with the role
    "guard", in the series that the guard reads where `guard_keys` is set.
    """

    model: str
    minute: int
    version: int | None
    prediction: int
    group: str = UNKNOWN
    bare: int | None = None
    nonce: bytes = field(default_factory=lambda: os.urandom(NONCE_BYTES))
    shadows: tuple[tuple[int, int], ...] = ()
    role: EventRole = "serve"
    trusted: bool = False

    def cell(self, label: int | None = None, group: str | None = None) -> Cell:
        """The cell of this prediction, as first counted or with a later label and group."""
        series = series_name(self.model, self.role)
        return Cell(series, self.minute, self.version, group or self.group, label, self.prediction, self.bare)

    def shadow_events(self) -> list[PredictionEvent]:
        """The shadows as events, with nonces derived from this one's."""
        return [
            replace(self, version=version, prediction=prediction, nonce=_derived(self.nonce, version), shadows=(),
                    role="shadow", trusted=False)
            for version, prediction in self.shadows
        ]  # fmt: skip

    def of_guard(self) -> list[PredictionEvent]:
        """The prediction as an event of the guard's series, if it is trusted; its nonce is derived from this one's."""
        if not self.trusted:
            return []
        nonce = _derived(self.nonce, NO_VERSION)
        return [replace(self, nonce=nonce, shadows=(), role="guard", trusted=False)]


def series_name(model: str, role: EventRole) -> str:
    """Name of a ledger series: the model's own, or model/role; a model's name has no slash."""
    return model if role == "serve" else f"{model}/{role}"


def _derived(nonce: bytes, version: int) -> bytes:
    return hashlib.blake2b(nonce, digest_size=NONCE_BYTES, salt=version.to_bytes(8, "big")).digest()


class Cell(NamedTuple):
    """Key of one count; `label` None is not known yet, `version` None is the bare model."""

    model: str
    minute: int
    version: int | None
    group: str
    label: int | None
    prediction: int
    bare: int | None


class Feedback(NamedTuple):
    """A late label, a group, or both for one prediction; None leaves the known value."""

    event: PredictionEvent
    label: int | None = None
    group: str | None = None
