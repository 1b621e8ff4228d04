"""What a caller may do, for routes that ask: the key was looked at before they are reached (access.py)."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.types import Scope

from service.call import header_of
from service.keyring import Caller, Keyring
from service.permissions import Needed
from service.problems import ProblemError
from service.settings import HOW_TO_OPEN, Settings

CALLER = "caller"
"""Where in `scope["state"]` the Caller is, or None."""
_scheme = HTTPBearer(auto_error=False, description="An API key of the service, or its admin token.")
Bearer = Annotated[HTTPAuthorizationCredentials | None, Security(_scheme)]
"""Tells the OpenAPI document that a route looks at the key."""


def token_in(scope: Scope) -> str | None:
    """The bearer token of a request's headers, if it has one."""
    scheme, _, token = (header_of(scope, b"authorization") or b"").decode("latin-1").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def caller_of(scope: Scope) -> Caller | None:
    """Whose key the request carries."""
    found: Caller | None = scope.get("state", {}).get(CALLER)
    return found


def is_admin(scope: Scope) -> bool:
    """Whether the caller has the role `admin`."""
    caller = caller_of(scope)
    return caller is not None and caller.may("admin")


def trusted_by_guard(settings: Settings, scope: Scope) -> bool:
    """Whether what the caller sends counts for a guard that is told whom to trust."""
    caller = caller_of(scope)
    return caller is not None and caller.id in settings.guard_keys


def refuse(keyring: Keyring, caller: Caller | None, given: str | None, need: Needed) -> ProblemError:
    """The error for a caller who lacks a role. Unknown, expired and revoked keys get the same."""
    if need == "admin" and not keyring.admits_admin:
        return ProblemError(403, "admin_closed", f"The admin routes are closed: {HOW_TO_OPEN}.")
    if caller is not None:
        return ProblemError(403, "role_missing", f"This key has not the role `{need}`; use one that has.")
    if given is None:
        headers = {"WWW-Authenticate": "Bearer"}
        return ProblemError(401, "token_missing", "Send `Authorization: Bearer <API key>`.", headers=headers)
    headers = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
    return ProblemError(401, "token_wrong", "This is no key of the service, or it has ended.", headers=headers)


def require_admin(keyring: Keyring, scope: Scope) -> None:
    """Raise 403 if the admin routes are closed or the role is missing, 401 if the key is missing or wrong."""
    if not is_admin(scope):
        raise refuse(keyring, caller_of(scope), token_in(scope), "admin")


def require_choice(settings: Settings, keyring: Keyring, scope: Scope) -> None:
    """Raise what `require_admin` raises, unless everybody may choose a trigger per request."""
    if settings.client_trigger != "open":
        require_admin(keyring, scope)


async def _admin(request: Request, bearer: Bearer) -> None:
    require_admin(request.app.state.running.keyring, request.scope)


AdminOnly = Depends(_admin)
"""A second lock on admin routes: access.py would have to fail for it to be reached."""
