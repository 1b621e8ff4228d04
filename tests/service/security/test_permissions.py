"""The table of roles, and what an address needs that it does not name."""

from __future__ import annotations

import pytest

from service.security.permissions import RequiredRole, required_role, table_role


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE", "BREW"])
@pytest.mark.parametrize("path", ["/", "/nowhere", "/v1/models", "/v1/models/faces/rollout/now", "/v1/models/a/b"])
def test_what_the_table_does_not_name_is_closed_to_all_but_admins(method: str, path: str) -> None:
    assert table_role(method, path) is None and required_role(method, path) == "admin"


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_what_the_table_does_not_name_is_looked_at_with_any_key_and_never_without(method: str) -> None:
    assert table_role(method, "/nowhere") is None and required_role(method, "/nowhere") == "any"


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("POST", "/v1/models/faces/predict", "predict"),
        ("POST", "/v2/models/faces/versions/v1/infer", "predict"),
        ("POST", "/v1/models/faces/feedback", "feedback"),
        ("POST", "/v1/models/faces/observations", "observe"),
        ("GET", "/v1/models/faces/history", "statistics"),
        ("HEAD", "/metrics", "statistics"),
        ("GET", "/healthz", "nothing"),
        ("POST", "/healthz", "admin"),
        ("GET", "/v1/models/faces/rollout", "any"),
        ("PUT", "/v1/models/faces/rollout", "admin"),
        ("GET", "/v1/models/faces/predict", "any"),
        ("GET", "/healthz/", "any"),
        ("GET", "/healthz\n", "any"),
    ],
)
def test_an_address_is_matched_whole_and_by_its_method(method: str, path: str, expected: RequiredRole) -> None:
    assert required_role(method, path) == expected
