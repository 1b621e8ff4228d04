"""Which role an address needs. What is not listed needs `admin` to change something, and any key to be looked at."""

from __future__ import annotations

import re
from typing import Literal

from triggers.api_keys import Role

Needed = Role | Literal["nothing", "any"]
"""`nothing`: everybody; `any`: whoever has a key."""

_MODEL = r"/v1/models/[^/]+"
_V2 = r"/v2/models/[^/]+(/versions/[^/]+)?"
TABLE: tuple[tuple[str, str, Needed], ...] = (
    ("POST", rf"{_MODEL}/predict|{_V2}/infer", "predict"),
    ("POST", rf"{_MODEL}/feedback", "feedback"),
    ("GET", r"/healthz|/readyz|/v2/health/(live|ready)|/dashboard(/.*)?", "nothing"),  # a page without data in it
    ("GET", rf"{_MODEL}/(fairness(/series)?|history)|/metrics", "statistics"),
    ("GET", rf"/v1/models|{_MODEL}|{_MODEL}/(rollout|triggers(/[^/]+(/preview\.png)?)?)", "any"),
    ("GET", rf"/v2|{_V2}(/ready)?|/docs|/openapi\.json", "any"),
    ("PUT", rf"{_MODEL}/rollout", "admin"),
    ("POST", rf"{_MODEL}/rollout/rollback", "admin"),
)
"""Method, address, role. A list, so that an auditor reads it in one look; a test holds every route against it."""
_COMPILED = tuple((method, re.compile(address), needed) for method, address, needed in TABLE)
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def listed(method: str, path: str) -> Needed | None:
    """What the table says; None if it says nothing. HEAD is as GET."""
    method = "GET" if method == "HEAD" else method
    return next((needed for verb, address, needed in _COMPILED if verb == method and address.fullmatch(path)), None)


def needed(method: str, path: str) -> Needed:
    """What a request has to show."""
    return listed(method, path) or ("any" if method in _SAFE else "admin")
