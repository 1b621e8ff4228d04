"""Any JSON: a template of the body that says where rows go, and a path to the scores.

In the template "$inputs" stands for the list of all rows, and an object {"$each": T} for a list with one T for every
row, in which "$input" stands for that row, also within a longer string. A template with "$input" and without "$each"
takes one row a request; so does "$body", where the row itself is the body, a picture file or a text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from triggers.model.endpoint.endpoint_loader import ALL_ROWS, EACH_ROW, ONE_ROW, WHOLE_BODY, EndpointLoader
from triggers.model.endpoint.json_path import parse_json_path, value_at
from triggers.model.endpoint.protocols.row_encoding import pixel_table, row_bytes, row_strings
from triggers.model.endpoint.protocols.score_table import label_table, parsed_json, score_table
from triggers.model.endpoint.request_rows import Rows

JSON_HEADERS = {"content-type": "application/json", "accept": "application/json"}
BODY_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "text": "text/plain; charset=utf-8"}


class JsonProtocol:
    """The mapping of a bundle: `input` is the template, `output` the path."""

    def __init__(self, loader: EndpointLoader) -> None:
        self._loader, self._path = loader, parse_json_path(loader.output or "$")

    def encode(self, rows: Rows) -> tuple[bytes, Mapping[str, str]]:
        """The template with the rows in it."""
        loader = self._loader
        if loader.input == WHOLE_BODY:
            return row_bytes(rows, loader)[0], {"content-type": BODY_TYPES[loader.encoding]}
        table = pixel_table(rows, loader)
        given: list[Any] = row_strings(rows, loader) if table is None else table.tolist()
        body = _filled(ALL_ROWS if loader.input is None else loader.input, given, given[0])
        return json.dumps(body, ensure_ascii=False).encode(), JSON_HEADERS

    def decode(self, body: bytes, headers: Mapping[str, str]) -> Tensor:
        """What lies at the path: the list of rows, or, where a request has one row, that row's scores."""
        found = value_at(parsed_json(body), self._path)
        rows = [found] if self._loader.one_row else found
        as_table = label_table if self._loader.scores == "labels" else score_table
        return as_table(rows, self._loader.columns)


def _filled(template: Any, rows: list[Any], row: Any) -> Any:
    if isinstance(template, str):
        if template in (ALL_ROWS, ONE_ROW):
            return rows if template == ALL_ROWS else row
        return template.replace(ONE_ROW, row) if isinstance(row, str) and ALL_ROWS not in template else template
    if isinstance(template, dict):
        if template.keys() == {EACH_ROW}:
            return [_filled(template[EACH_ROW], rows, each) for each in rows]
        return {key: _filled(value, rows, row) for key, value in template.items()}
    return [_filled(each, rows, row) for each in template] if isinstance(template, list) else template
