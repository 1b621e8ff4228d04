"""What is remembered of one prediction: never the input, only what the fairness statistics count."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import NamedTuple

from triggers.fairness import UNKNOWN

NONCE_BYTES = 12


@dataclass(frozen=True)
class Event:
    """One served prediction. `version` None is the bare model; `bare` is the prediction of the twin without a trigger.

    `minute` counts from 1970. `group` must be what `Ledger.admit` returned, so that the receipt and the count agree.
    """

    model: str
    minute: int
    version: int | None
    prediction: int
    group: str = UNKNOWN
    bare: int | None = None
    nonce: bytes = field(default_factory=lambda: os.urandom(NONCE_BYTES))

    def cell(self, label: int | None = None, group: str | None = None) -> Cell:
        """Where this prediction is counted, as first counted or with a later label and group."""
        return Cell(self.model, self.minute, self.version, group or self.group, label, self.prediction, self.bare)


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
