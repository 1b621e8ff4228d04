"""Scores as endpoints write them, as one table (N, O): numbers, numbers beside their labels' names, or labels alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from triggers.errors import EndpointFailed, ModelError

NO_NUMBERS = "The endpoint's scores are no table of numbers"


class UnnamedColumns(EndpointFailed):
    """Scores stand beside names, and the bundle does not say in which order it takes them."""

    def __init__(self, names: Sequence[str]) -> None:
        said = ", ".join(map(repr, names))
        super().__init__(f"The endpoint names its scores: {said}; `loader.columns` must list them in order.")
        self.names = tuple(names)


def parsed_json(body: bytes) -> Any:
    """JSON of an answer. Raises ModelError."""
    try:
        return json.loads(body)
    except ValueError as error:
        page = body.lstrip()[:1] == b"<"
        what = "a page of HTML or XML, no JSON: is the address that of the model?" if page else "no JSON"
        raise ModelError(f"The endpoint's answer is {what} ({body[:80]!r})") from error


def number_table(data: Any, shape: Sequence[int] | None = None) -> Tensor:
    """Numbers as a table (N, O) float32; one number a row is one column. Raises ModelError."""
    try:
        found = torch.tensor(data, dtype=torch.float64)
        found = found if shape is None else found.reshape(tuple(shape))
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ModelError(f"{NO_NUMBERS}: {' '.join(str(error).split())}") from error
    while found.ndim > 2 and found.shape[-1] == 1:
        found = found[..., 0]
    found = found[:, None] if found.ndim == 1 else found
    if found.ndim != 2:
        raise ModelError(f"The endpoint's scores have shape {tuple(found.shape)}, not (rows, outputs).")
    return found.float()


def score_table(rows: Any, columns: Sequence[str] | None) -> Tensor:
    """Rows of scores, each a list of numbers or scores beside names, as (N, O). Raises ModelError, UnnamedColumns."""
    if not isinstance(rows, list):
        raise ModelError(f"{NO_NUMBERS}: where they should be there is {_excerpt(rows)} (`loader.output`).")
    named = [_named(row) for row in rows]
    if all(row is None for row in named):
        if rows and any(isinstance(row, str | bool) for row in rows):
            raise ModelError(
                f"The endpoint answers labels ({_excerpt(rows[0])}), no scores: say "
                '--endpoint \'{"scores": "labels"}\', and --labels.'
            )
        return number_table(rows)
    return number_table([_ordered(row, columns) for row in named])


def label_table(rows: Any, columns: Sequence[str] | None) -> Tensor:
    """Labels alone, by name or index, as 1 in its column (N, O) and 0 elsewhere. Raises ModelError."""
    if not columns:
        raise ModelError("Labels alone need their names in order: `loader.columns`, or --labels of `wrap`.")
    if not isinstance(rows, list):
        raise ModelError(f"The endpoint's labels are no list: {_excerpt(rows)} (`loader.output`).")
    index = torch.tensor([_column(row, columns) for row in rows], dtype=torch.long)
    return torch.nn.functional.one_hot(index, len(columns)).float()


def _named(row: Any) -> dict[str, Any] | None:
    """A row's scores by name, in the order of the answer; None if it names nothing."""
    if isinstance(row, dict):
        labels, values = row.get("labels"), row.get("scores")
        if isinstance(labels, list) and isinstance(values, list) and len(labels) == len(values):
            return dict(zip(map(str, labels), values, strict=True))
        if "label" in row and "score" in row:
            raise ModelError(
                f"The endpoint answers the best label's score alone ({_excerpt(row)}): ask it for the scores of all "
                'labels, or say --endpoint \'{"scores": "labels"}\', and --labels.'
            )
        return {str(name): value for name, value in row.items()}
    if isinstance(row, list) and row and all(isinstance(each, dict) for each in row):
        if not all({"label", "score"} <= each.keys() for each in row):
            raise ModelError(f"{NO_NUMBERS}: {_excerpt(row)} has no `label` and `score` in each part.")
        found = {str(each["label"]): each["score"] for each in sorted(row, key=lambda each: str(each["label"]))}
        if len(found) != len(row):
            raise ModelError(f"The endpoint names a label twice in one row: {_excerpt(row)}")
        return found
    return None


def _ordered(row: Mapping[str, Any] | None, columns: Sequence[str] | None) -> list[Any]:
    if row is None:
        raise ModelError("The endpoint names the scores of some rows, and not those of others.")
    if columns is None:
        raise UnnamedColumns(tuple(row))
    if row.keys() != set(columns):
        other = sorted(row.keys() ^ set(columns))
        raise ModelError(
            f"The endpoint names the scores {sorted(row)}, the bundle {sorted(columns)} (`loader.columns`): {other} "
            "are not in both. Ask it for the scores of all labels."
        )
    return [row[name] for name in columns]


def _column(value: Any, columns: Sequence[str]) -> int:
    """The column of a label: by its name, else by its number."""
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, dict) and "label" in value:
        value = value["label"]
    if str(value) in columns:
        return columns.index(str(value))
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and 0 <= value < len(columns):
        return int(value)
    raise ModelError(f"The endpoint answers the label {_excerpt(value)}, which is none of {', '.join(columns)}.")


def _excerpt(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
