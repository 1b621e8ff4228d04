"""Authorization checks inside routes; the key itself was checked before, by auth_middleware.py."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.types import Scope

from service.api.raw_request import header_of
from service.config import ADMIN_SETUP_HINT, Settings
from service.errors import ProblemError
from service.security import Keyring, RequiredRole
from service.security.keyring import Caller

CALLER = "caller"
"""Key in `scope["state"]` of the Caller, or None."""
_scheme = HTTPBearer(auto_error=False, description="An API key of the service, or its admin token.")
Bearer = Annotated[HTTPAuthorizationCredentials | None, Security(_scheme)]
"""Marks a route as using the key, in the OpenAPI document."""


def token_in(scope: Scope) -> str | None:
    """The bearer token of a request's headers, if it has one."""
    scheme, _, token = (header_of(scope, b"authorization") or b"").decode("latin-1").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def caller_of(scope: Scope) -> Caller | None:
    """The owner of the request's key; None without a valid one."""
    found: Caller | None = scope.get("state", {}).get(CALLER)
    return found


def is_admin(scope: Scope) -> bool:
    """Whether the caller has the role `admin`."""
    caller = caller_of(scope)
    return caller is not None and caller.has_role("admin")


def trusted_by_guard(settings: Settings, scope: Scope) -> bool:
    """Whether the caller's key is one of `guard_keys`, whose predictions the guard tests."""
    caller = caller_of(scope)
    return caller is not None and caller.id in settings.guard_keys


def authorization_error(
    keyring: Keyring, caller: Caller | None, given: str | None, required: RequiredRole
) -> ProblemError:
    """The error for a caller who lacks a role. Unknown, expired and revoked keys get the same."""
    if required == "admin" and not keyring.admits_admin:
        return ProblemError(403, "admin_closed", f"The admin routes are closed: {ADMIN_SETUP_HINT}.")
    if caller is not None:
        return ProblemError(403, "role_missing", f"This key has not the role `{required}`; use one that has.")
    if given is None:
        headers = {"WWW-Authenticate": "Bearer"}
        return ProblemError(401, "token_missing", "Send `Authorization: Bearer <API key>`.", headers=headers)
    headers = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
    return ProblemError(401, "token_wrong", "This is no key of the service, or it has ended.", headers=headers)


def require_admin(keyring: Keyring, scope: Scope) -> None:
    """Raise 403 if the admin routes are closed or the role is missing, 401 if the key is missing or wrong."""
    if not is_admin(scope):
        raise authorization_error(keyring, caller_of(scope), token_in(scope), "admin")


def require_choice(settings: Settings, keyring: Keyring, scope: Scope) -> None:
    """Raise what `require_admin` raises, unless every caller may choose a trigger per request."""
    if settings.client_trigger != "open":
        require_admin(keyring, scope)


async def _admin(request: Request, bearer: Bearer) -> None:
    require_admin(request.app.state.running.keyring, request.scope)


AdminOnly = Depends(_admin)
"""A second check on admin routes, in case auth_middleware.py fails."""
