"""What is remembered of one prediction: never the input, only what the fairness statistics count."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from triggers.fairness import UNKNOWN

NONCE_BYTES = 12
NO_VERSION = 0
"""Versions begin with 1."""
Role = Literal["serve", "shadow", "guard"]


@dataclass(frozen=True)
class Event:
    """One prediction. `version` None is the bare model; `bare` is the prediction of the twin without a trigger.

    `minute` counts from 1970. `group` must be what `Ledger.admit` returned, so that the receipt and the count agree.
    `shadows` are (version, prediction) of what other versions said and nobody was told; each is an event of its own,
    with the role "shadow", and counts in a series of its own, where no served prediction is. A `trusted` prediction is
    counted a second time, with the role "guard", in the series that a guard reads if it is told whom to trust.
    """

    model: str
    minute: int
    version: int | None
    prediction: int
    group: str = UNKNOWN
    bare: int | None = None
    nonce: bytes = field(default_factory=lambda: os.urandom(NONCE_BYTES))
    shadows: tuple[tuple[int, int], ...] = ()
    role: Role = "serve"
    trusted: bool = False

    def cell(self, label: int | None = None, group: str | None = None) -> Cell:
        """Where this prediction is counted, as first counted or with a later label and group."""
        series = series_of(self.model, self.role)
        return Cell(series, self.minute, self.version, group or self.group, label, self.prediction, self.bare)

    def of_shadows(self) -> list[Event]:
        """The shadows as events; each has a nonce that follows from this one's."""
        return [
            replace(self, version=version, prediction=prediction, nonce=_derived(self.nonce, version), shadows=(),
                    role="shadow", trusted=False)
            for version, prediction in self.shadows
        ]  # fmt: skip

    def of_guard(self) -> list[Event]:
        """The same prediction as a guard counts it, if it is trusted; its nonce follows from this one's."""
        if not self.trusted:
            return []
        nonce = _derived(self.nonce, NO_VERSION)
        return [replace(self, nonce=nonce, shadows=(), role="guard", trusted=False)]


def series_of(model: str, role: Role) -> str:
    """The name under which the ledger counts a model; a model's own name has no slash."""
    return model if role == "serve" else f"{model}/{role}"


def _derived(nonce: bytes, version: int) -> bytes:
    return hashlib.blake2b(nonce, digest_size=NONCE_BYTES, salt=version.to_bytes(8, "big")).digest()


class Cell(NamedTuple):
    """What is counted together; `label` None is not known yet."""

    model: str
    minute: int
    version: int | None
    group: str
    label: int | None
    prediction: int
    bare: int | None


class Feedback(NamedTuple):
    """What became known about a prediction; None says nothing new."""

    event: Event
    label: int | None = None
    group: str | None = None
