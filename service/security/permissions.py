"""The role that each route needs. An unlisted path needs `admin` for changes, and any key for reading."""

from __future__ import annotations

import re
from typing import Literal

from triggers.api_keys import Role

RequiredRole = Role | Literal["nothing", "any"]
"""`nothing`: no key; `any`: any valid key."""

_MODEL = r"/v1/models/[^/]+"
_V2 = r"/v2/models/[^/]+(/versions/[^/]+)?"
ROLE_TABLE: tuple[tuple[str, str, RequiredRole], ...] = (
    ("POST", rf"{_MODEL}/predict|{_V2}/infer", "predict"),
    ("POST", rf"{_MODEL}/feedback", "feedback"),
    ("POST", rf"{_MODEL}/observations", "observe"),
    ("GET", r"/healthz|/readyz|/v2/health/(live|ready)|/dashboard(/.*)?", "nothing"),  # a page without data in it
    ("GET", rf"{_MODEL}/(fairness(/series)?|history)|/metrics", "statistics"),
    ("GET", rf"/v1/models|{_MODEL}|{_MODEL}/(rollout|triggers(/[^/]+(/(preview\.png|tokens))?)?)", "any"),
    ("GET", rf"/v2|{_V2}(/ready)?|/docs(/[^/]+)?|/openapi\.json", "any"),
    ("PUT", rf"{_MODEL}/rollout", "admin"),
    ("POST", rf"{_MODEL}/rollout/rollback", "admin"),
)
"""Method, path pattern, role: one list for auditors; a test checks every route against it."""
_COMPILED = tuple((method, re.compile(address), needed) for method, address, needed in ROLE_TABLE)
METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def table_role(method: str, path: str) -> RequiredRole | None:
    """The role in ROLE_TABLE; None for an unlisted path. HEAD is as GET."""
    method = "GET" if method == "HEAD" else method
    return next((needed for verb, address, needed in _COMPILED if verb == method and address.fullmatch(path)), None)


def required_role(method: str, path: str) -> RequiredRole:
    """The role that a request needs, listed or by default."""
    return table_role(method, path) or ("any" if method in _SAFE else "admin")


def methods_at(path: str) -> str:
    """All listed methods of a path, which several routes may share, for an Allow header (RFC 9110, 10.2.1)."""
    return ", ".join(method for method in METHODS if table_role(method, path) is not None)
