"""Labels and groups that became known later, and predictions of other systems: each counts once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, TypeAlias

from fairtrigger.client.column_values import group_names, plain_value
from fairtrigger.client.predictions import ForEach
from fairtrigger.client.results import ItemError
from fairtrigger.client.service_calls import Operation, RetryRules, model_path, post_items
from triggers.errors import ConfigError

FEEDBACK_ITEMS = 10_000
"""The most that the service takes in one list; a list of too many bytes is halved."""

TrueLabel: TypeAlias = str | int | float | bool | None
"""A label's name, its index, or of two labels a flag."""


@dataclass(frozen=True)
class ItemReceipt:
    """What became of one: `status` counted, corrected, unchanged, counted_before or refused, which has an `error`.

    Observations have a `prediction_id`, for feedback.
    """

    status: str
    prediction_id: str | None = None
    error: ItemError | None = None


def give_feedback(
    model: str, prediction_ids: Iterable[str], labels: Iterable[TrueLabel], groups: ForEach, rules: RetryRules
) -> Operation[list[ItemReceipt]]:
    """Tell labels, groups or both, for predictions by their ids, in order. Raises ConfigError or ServiceError."""
    ids, known = list(prediction_ids), [plain_value(one) for one in labels]
    shared = [groups] * len(ids) if isinstance(groups, str) else group_names(() if groups is None else groups)
    for what, values in (("labels", known), ("groups", shared)):
        if values and len(values) != len(ids):
            raise ConfigError(f"There are {len(values)} {what} for {len(ids)} predictions: give one for each.")
    items = [
        {"prediction_id": one, "label": label, "group": group} for one, label, group in zip_longest(ids, known, shared)
    ]
    return (yield from _told(model, "feedback", items, rules))


def tell_observations(
    model: str, observations: Iterable[Mapping[str, Any]], rules: RetryRules
) -> Operation[list[ItemReceipt]]:
    """Tell predictions that another system made; every one has an `observation_id`, the same in every retry."""
    return (yield from _told(model, "observations", list(observations), rules))


def _told(model: str, what: str, items: Sequence[Mapping[str, Any]], rules: RetryRules) -> Operation[list[ItemReceipt]]:
    results = yield from post_items(model_path(model, f"/{what}"), items, rules, FEEDBACK_ITEMS)
    return [
        ItemReceipt(
            one["status"], one.get("prediction_id"), ItemError.of_document(one["error"]) if "error" in one else None
        )
        for one in results
    ]
