"""Access control of every request: host, origin, key and rate are checked before its body is read."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable

from starlette.types import Scope

from service.api.auth_dependencies import CALLER, authorization_error, token_in
from service.api.problem_details import Problem, to_problem
from service.config import Settings
from service.security import Keyring, RequiredRole, required_role, table_role
from service.server.origins import Origins

PREDICT = re.compile(r"/v1/models/[^/]+/predict")
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")


class AuthMiddleware:
    """Authenticates and authorizes a request, and puts its caller into `scope["state"]`. On the event loop.

    If `admin_port()` is a number, admin routes answer 404 at any other port.
    """

    def __init__(self, settings: Settings, keyring: Keyring, admin_port: Callable[[], int | None]) -> None:
        self.keyring, self._admin_port, self._origins = keyring, admin_port, Origins(settings)

    def refusal(self, scope: Scope) -> Problem | None:
        """The problem of a request that is refused, else None; notes its caller."""
        method, path = scope["method"], scope["path"]
        required: RequiredRole = (
            "predict" if method == "POST" and PREDICT.fullmatch(path) else required_role(method, path)
        )
        if UNPRINTABLE.search(path) or (required == "admin" and self._wrong_port(scope)):
            return Problem(404, "not_found", "There is nothing at this address; /docs lists every address.")
        if required != "nothing" and (problem := self._origins.refusal(scope)):
            return problem
        given = token_in(scope)
        caller = self.keyring.find(given) if given is not None else None
        scope.setdefault("state", {})[CALLER] = caller
        if required == "nothing" or (self.keyring.open and required != "admin"):
            return None
        if self.keyring.open and table_role(method, path) is None:
            return None  # a router says 404 or 405; there is no such admin route
        if caller is None or not caller.has_role(None if required == "any" else required):
            return to_problem(authorization_error(self.keyring, caller, given, required))
        seconds = caller.take_token(time.monotonic())
        return _too_many(seconds) if seconds else None

    def _wrong_port(self, scope: Scope) -> bool:
        port = self._admin_port()
        return port is not None and (scope.get("server") or ("", None))[1] != port


def _too_many(seconds: float) -> Problem:
    wait = str(math.ceil(seconds))
    return Problem(429, "too_many_requests", f"This key has used up its rate; wait {wait} s.", {"Retry-After": wait})
