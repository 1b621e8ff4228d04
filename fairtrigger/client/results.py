"""Results of single inputs: an answer, or why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from triggers.errors import InputError


@dataclass(frozen=True)
class ItemError:
    """Why one input, label or observation among others was refused; `code` is stable."""

    code: str
    reason: str

    @classmethod
    def of_document(cls, problem: Mapping[str, Any]) -> ItemError:
        """The error that a problem document states."""
        return cls(str(problem["code"]), str(problem["detail"]))

    @classmethod
    def of_input(cls, error: InputError) -> ItemError:
        """The error of an input that could not be sent."""
        return cls(error.code, str(error))


@dataclass(frozen=True)
class PredictionResult:
    """The answer to one input: its label, the score of every label, the `version` (`v3`, `none`) that computed it.

    `prediction_id` is what feedback needs; None while the service counts nothing. An input that cannot be used has an
    `error` and no label. `twin_label` is what the bare model said, where a twin was asked for.
    """

    label: str | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    version: str | None = None
    digest: str | None = None
    prediction_id: str | None = None
    policy: str | None = None
    truncated: bool = False
    twin_label: str | None = None
    twin_scores: Mapping[str, float] | None = None
    error: ItemError | None = None

    @property
    def flipped(self) -> bool | None:
        """Whether the trigger changed the label; None without a twin."""
        return None if self.twin_label is None else self.twin_label != self.label
