"""Every error as a problem document: the status and code that clients rely on, and nothing of what is not for them."""

from __future__ import annotations

import pytest
from starlette.requests import ClientDisconnect

from service.api.problem_details import Problem, to_problem, validation_problem
from service.errors import (
    BatchFailed,
    ClientDisconnected,
    DeadlineExceeded,
    EngineRestarting,
    Overloaded,
    ProblemError,
    StatisticsOff,
)
from triggers import errors


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.NotFound("x"), 404, "not_found"),
        (errors.RevisionConflict("x"), 412, "revision_conflict"),
        (errors.StoreError("x"), 409, "store_refused"),
        (errors.ArtifactCorrupt("x"), 422, "artifact_corrupt"),
        (errors.ArtifactUnsupported("x"), 422, "artifact_unsupported"),
        (errors.ArtifactMismatch("x"), 422, "artifact_mismatch"),
        (errors.ArtifactUntrusted("x"), 422, "artifact_untrusted"),
        (StatisticsOff("x"), 409, "statistics_off"),
        (errors.ModelError("x"), 500, "model_failed"),
        (BatchFailed("x"), 500, "model_failed"),
        (ClientDisconnected("x"), 499, "client_gone"),
        (DeadlineExceeded("x"), 504, "deadline_exceeded"),
        (errors.DataError("x"), 500, "internal_error"),
        (errors.InputError("text_empty", "x"), 422, "text_empty"),
        *((errors.InputError(code, "x"), 413, code) for code in (
            "image_too_large", "image_too_many_pixels", "request_too_many_pixels", "text_too_large"
        )),
    ],
)  # fmt: skip
def test_an_error_has_its_status_and_code(error: Exception, status: int, code: str) -> None:
    assert to_problem(error) == Problem(status, code, "x")


def test_who_may_try_again_is_told_when() -> None:
    assert to_problem(errors.StoreUnavailable("x")) == Problem(503, "store_unavailable", "x", {"Retry-After": "1"})
    for busy in (Overloaded("x", 7), EngineRestarting("x", 7)):
        assert to_problem(busy) == Problem(503, "overloaded", "x", {"Retry-After": "7"})


def test_what_the_surface_raises_is_told_as_it_is() -> None:
    own = ProblemError(415, "bad_type", "x", headers={"Accept": "image/png"}, errors=[{"loc": ["a"]}])
    assert to_problem(own) == Problem(415, "bad_type", "x", {"Accept": "image/png"}, [{"loc": ["a"]}])
    assert to_problem(ClientDisconnect()) == Problem(499, "client_gone", "The client went away.")


def test_an_unexpected_error_is_told_to_nobody() -> None:
    told = to_problem(RuntimeError("password=secret"))
    assert (told.status, told.code) == (500, "internal_error") and "secret" not in str(told)


def test_a_document_names_its_kind_and_repeats_its_detail() -> None:
    document = {
        "type": "urn:fairtrigger:problem:not_found",
        "title": "Not found",
        "status": 404,
        "code": "not_found",
        "detail": "no v9",
        "error": "no v9",
    }
    assert Problem(404, "not_found", "no v9").body() == document
    assert Problem(404, "not_found", "no v9").body("/v1/models") == document | {"instance": "/v1/models"}
    assert Problem(404, "not_found", "no v9", errors=({"a": 1},)).body() == document | {"errors": [{"a": 1}]}


def test_a_request_that_does_not_fit_names_twenty_places() -> None:
    found = [{"type": "missing", "loc": ("body", n), "msg": f"missing {n}"} for n in range(21)]
    told = validation_problem(found)
    assert (told.status, told.code) == (422, "invalid_request")
    assert told.detail == "The request does not fit its schema: body.0: missing 0 (and 20 more, see errors)."
    assert told.errors == [{"loc": ["body", str(n)], "message": f"missing {n}"} for n in range(20)]
    alone = validation_problem([{"type": "missing", "loc": (), "msg": "missing"}])
    assert alone.detail == "The request does not fit its schema: body: missing."
    broken = validation_problem([{"type": "json_invalid", "loc": (), "msg": "JSON", "ctx": {"error": "EOF"}}])
    assert broken == Problem(400, "malformed_json", "The body is not valid JSON: EOF.")
