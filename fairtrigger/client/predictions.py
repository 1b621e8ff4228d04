"""Predictions: inputs in requests no larger than the service accepts, results in the inputs' order."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from itertools import repeat
from typing import Any, Literal, TypeAlias

from fairtrigger.client.column_values import group_names
from fairtrigger.client.errors import ServiceError
from fairtrigger.client.results import ItemError, PredictionResult
from fairtrigger.client.service_calls import Operation, RetryRules, ServiceCall, exchange, model_path
from fairtrigger.model_inputs import ImageInput, check_many, image_as_file, plain_text
from triggers.errors import ConfigError, InputError
from triggers.rollout.rollout_history import version_name

ForEach: TypeAlias = str | Sequence[str | None] | None
"""One value for all inputs, or one (or None) for each."""

_BODY_SHARE, _ITEM_BYTES = 0.9, 300
"""Share of the largest body that is used, and bytes beside an input's own."""
_OF_THE_REQUEST = frozenset(
    {
        "invalid_request",
        "too_many_versions",
        "no_challenger",
        "artifact_corrupt",
        "artifact_unsupported",
        "artifact_mismatch",
        "artifact_untrusted",
        "artifact_uncertified",
    }
)
"""Problems with status 422 that are not about the input, though the request has only one."""


@dataclass(frozen=True)
class PredictOptions:
    """What holds for a whole call."""

    groups: ForEach = None
    keys: ForEach = None
    trigger: str | None = None
    twin: bool = False


def predict_images(
    card: Mapping[str, Any], images: Iterable[ImageInput], options: PredictOptions, rules: RetryRules
) -> Operation[list[PredictionResult]]:
    """Results of images for the model of a card. Raises ServiceError, or ConfigError for what is no list of images."""
    _check_modality(card, "image")
    return (yield from _predict(card, images, "image", options, rules))


def predict_texts(
    card: Mapping[str, Any], texts: Iterable[str], options: PredictOptions, rules: RetryRules
) -> Operation[list[PredictionResult]]:
    """Results of texts for the model of a card. Raises ServiceError, or ConfigError for what is no list of texts."""
    _check_modality(card, "text")
    return (yield from _predict(card, texts, "text", options, rules))


def _check_modality(card: Mapping[str, Any], given: str) -> None:
    if card["modality"] != given:
        raise ConfigError(f"{card['name']!r} is a model of {card['modality']}s: give it {card['modality']}s.")


def _predict(
    card: Mapping[str, Any],
    inputs: Iterable[Any],
    kind: Literal["image", "text"],
    options: PredictOptions,
    rules: RetryRules,
) -> Operation[list[PredictionResult]]:
    check_many(inputs)
    results: list[PredictionResult] = []
    try:
        for batch in _batches(_items(inputs, kind, options), card["limits"]):
            results += yield from _predict_batch(card["name"], batch, options, rules)
    except ServiceError as error:
        error.answered = [*results, *error.answered]
        raise
    return results


_Item: TypeAlias = dict[str, Any] | ItemError
"""An entry of `inputs`, or why there is none."""


def _items(inputs: Iterable[Any], kind: str, options: PredictOptions) -> Iterator[_Item]:
    if not isinstance(inputs, Sized) and not (_shared(options.groups) and _shared(options.keys)):
        inputs = list(inputs)
    groups, keys = _for_each(options.groups, "groups", inputs), _for_each(options.keys, "keys", inputs)
    for one, group, key in zip(inputs, groups, keys, strict=False):
        try:
            item = {kind: _content(one, kind)}
        except InputError as error:
            yield ItemError.of_input(error)
            continue
        yield item | {name: value for name, value in (("group", group), ("key", key)) if value is not None}


def _shared(values: ForEach) -> bool:
    return values is None or isinstance(values, str)


def _for_each(values: ForEach, what: str, inputs: Iterable[Any]) -> Iterable[str | None]:
    """One value for each input. Raises ConfigError if there are more or fewer."""
    if values is None or isinstance(values, str):
        return repeat(values)
    assert isinstance(inputs, Sized)
    if len(values) != len(inputs):
        raise ConfigError(f"There are {len(values)} {what} for {len(inputs)} inputs: give one for each, or None.")
    return group_names(values)


def _content(one: Any, kind: str) -> str:
    return base64.b64encode(image_as_file(one)).decode() if kind == "image" else plain_text(one)


def _batches(items: Iterable[_Item], limits: Mapping[str, int]) -> Iterator[list[_Item]]:
    """Items in lists that fit one request; what fits none stays alone, and the service says what is wrong."""
    most, room = limits["items_per_request"], int(limits["body_bytes"] * _BODY_SHARE)
    batch, size = list[_Item](), 0
    for item in items:
        needed = 0 if isinstance(item, ItemError) else _ITEM_BYTES + sum(_json_bytes(value) for value in item.values())
        if batch and (len(batch) == most or size + needed > room):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += needed
    if batch:
        yield batch


def _json_bytes(text: str) -> int:
    """The most bytes of a text in a JSON body."""
    return len(text) if text.isascii() and '"' not in text and "\\" not in text else 6 * len(text)


def _predict_batch(
    model: str, batch: Sequence[_Item], options: PredictOptions, rules: RetryRules
) -> Operation[list[PredictionResult]]:
    sent = [item for item in batch if not isinstance(item, ItemError)]
    answers = iter((yield from _ask(model, sent, options, rules)) if sent else ())
    return [PredictionResult(error=item) if isinstance(item, ItemError) else next(answers) for item in batch]


def _ask(
    model: str, items: Sequence[_Item], options: PredictOptions, rules: RetryRules
) -> Operation[list[PredictionResult]]:
    """The answers to items in one request, or in halves where the service finds it too large."""
    body: dict[str, Any] = {"inputs": list(items), "twin": options.twin}
    if options.trigger is not None:
        body["trigger"] = options.trigger
    try:
        reply = yield from exchange(ServiceCall("POST", model_path(model, "/predict"), body, repeatable=False), rules)
    except ServiceError as error:
        refused = _refused_items(error, len(items))
        if refused:
            return [PredictionResult(error=one) for one in refused]
        if error.status != 413 or len(items) < 2:
            raise
        half = len(items) // 2
        first = yield from _ask(model, items[:half], options, rules)
        try:
            return first + (yield from _ask(model, items[half:], options, rules))
        except ServiceError as later:
            later.answered = [*first, *later.answered]
            raise
    return [_result(one) for one in reply.json()["predictions"]]


def _refused_items(error: ServiceError, count: int) -> list[ItemError]:
    """The errors of the inputs, where each of them was refused and not the request."""
    if error.code == "no_usable_input":
        return [ItemError.of_document(one) for one in error.problem["errors"]]
    if count == 1 and error.problem and error.status in (413, 422) and error.code not in _OF_THE_REQUEST:
        return [ItemError(error.code, error.reason)]
    return []


def _result(answer: Mapping[str, Any]) -> PredictionResult:
    if "error" in answer:
        return PredictionResult(error=ItemError.of_document(answer["error"]))
    twin = answer.get("twin") or {}
    return PredictionResult(
        label=answer["label"],
        scores=answer["scores"],
        version=version_name(answer["trigger"]["version"]),
        digest=answer["trigger"]["digest"],
        prediction_id=answer["prediction_id"],
        policy=answer["policy"],
        truncated=answer.get("truncated", False),
        twin_label=twin.get("label"),
        twin_scores=twin.get("scores"),
    )
