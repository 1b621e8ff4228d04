"""Validation of requests by their schemas; JSON as clients write it, with byte order marks and emoji cut in halves."""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from service.api.problem_details import validation_problem
from service.errors import ProblemError

_T = TypeVar("_T")
_Schema = TypeVar("_Schema", bound=BaseModel)
_ESCAPES = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
"""Escapes of JSON: a surrogate pair, half of one, any other."""


def validated_json(schema: type[_Schema], body: bytes) -> _Schema:
    """A JSON body, as `validated`. Half of a surrogate pair is read as NUL, which only the text that holds it minds."""
    text = body.removeprefix(BOM_UTF8)
    try:
        return validated(partial(schema.model_validate_json, text))
    except ProblemError as error:
        if "hex escape" not in str(error):
            raise
    return validated(partial(schema.model_validate_json, _ESCAPES.sub(_without_halves, text)))


def _without_halves(escape: re.Match[bytes]) -> bytes:
    return b"\\u0000" if escape["half"] else escape[0]


def validated(validate: Callable[[], _T], *where: str) -> _T:
    """The result of `validate`; a ValidationError becomes a ProblemError with locations under `where`."""
    try:
        return validate()
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        problem = validation_problem([{**each, "loc": (*where, *each["loc"])} for each in found])
        raise ProblemError(problem.status, problem.code, problem.detail, errors=problem.errors) from error
