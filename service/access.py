"""Nobody gets in: host, origin and key are looked at before anything else of a request, its body above all."""

from __future__ import annotations

import math
import re
import time

from starlette.types import ASGIApp, Receive, Scope, Send

from service.auth import CALLER, refuse, token_in
from service.keyring import Keyring
from service.origins import Origins
from service.permissions import Needed, listed, needed
from service.problems import Problem, problem_of, response
from service.running import Running

PREDICT = re.compile(r"/v1/models/[^/]+/predict")
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")


class Access:
    """Finds out who asks, and passes on what they may ask. The caller is in `scope["state"]` from here on.

    With an admin port, admin routes are not found at any other.
    """

    def __init__(self, app: ASGIApp, keyring: Keyring, running: Running) -> None:
        self.app, self.keyring, self.running = app, keyring, running
        self._origins = Origins(running.settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer that it may not pass."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        problem = self.refusal(scope)
        if problem is None:
            await self.app(scope, receive, send)
        else:
            await response(problem, scope["path"])(scope, receive, send)

    def refusal(self, scope: Scope) -> Problem | None:
        """Why a request may not pass, None if it may; notes its caller."""
        method, path = scope["method"], scope["path"]
        need: Needed = "predict" if method == "POST" and PREDICT.fullmatch(path) else needed(method, path)
        if UNPRINTABLE.search(path) or (need == "admin" and self._wrong_port(scope)):
            return Problem(404, "not_found", "There is nothing at this address; /docs lists every address.")
        if need != "nothing" and (problem := self._origins.refusal(scope)):
            return problem
        given = token_in(scope)
        caller = self.keyring.find(given) if given is not None else None
        scope.setdefault("state", {})[CALLER] = caller
        if need == "nothing" or (self.keyring.open and need != "admin"):
            return None
        if self.keyring.open and listed(method, path) is None:
            return None  # a router says 404 or 405; there is no such admin route
        if caller is None or not caller.may(None if need == "any" else need):
            return problem_of(refuse(self.keyring, caller, given, need))
        seconds = caller.wait(time.monotonic())
        return _too_many(seconds) if seconds else None

    def _wrong_port(self, scope: Scope) -> bool:
        port = self.running.admin_port
        return port is not None and (scope.get("server") or ("", None))[1] != port


def _too_many(seconds: float) -> Problem:
    wait = str(math.ceil(seconds))
    return Problem(429, "too_many_requests", f"This key has used up its rate; wait {wait} s.", {"Retry-After": wait})
