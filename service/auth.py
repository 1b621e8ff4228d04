"""Who may change what is served: one bearer token, compared in constant time."""

from __future__ import annotations

import hmac
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import SecretStr
from starlette.types import Scope

from service.problems import ProblemError
from service.settings import HOW_TO_OPEN, Settings

_scheme = HTTPBearer(auto_error=False, description="The admin token of the service.")

Bearer = Annotated[HTTPAuthorizationCredentials | None, Security(_scheme)]


def token_in(scope: Scope) -> str | None:
    """The bearer token of a request's headers, if it has one."""
    for name, value in scope["headers"]:
        if name == b"authorization":
            scheme, _, token = value.decode("latin-1").partition(" ")
            return token.strip() or None if scheme.lower() == "bearer" else None
    return None


def is_admin(token: SecretStr | None, given: str | None) -> bool:
    """Whether `given` is the admin token. Takes the same time for every wrong guess of one length."""
    if token is None or given is None:
        return False
    return hmac.compare_digest(token.get_secret_value().encode(), given.encode())


def require_admin(token: SecretStr | None, given: str | None) -> None:
    """Raise 403 if the admin routes are closed, 401 if the token is missing or wrong."""
    if token is None:
        raise ProblemError(403, "admin_closed", f"The admin routes are closed: {HOW_TO_OPEN}.")
    if given is None:
        headers = {"WWW-Authenticate": "Bearer"}
        raise ProblemError(401, "token_missing", "Send `Authorization: Bearer <admin token>`.", headers=headers)
    if not is_admin(token, given):
        headers = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
        raise ProblemError(401, "token_wrong", "This is not the admin token of the service.", headers=headers)


def require_choice(settings: Settings, given: str | None) -> None:
    """Raise what `require_admin` raises, unless everybody may choose a trigger per request."""
    if settings.client_trigger != "open":
        require_admin(settings.admin_token, given)


def _admin(request: Request, bearer: Bearer) -> None:
    require_admin(request.app.state.settings.admin_token, bearer.credentials if bearer else None)


AdminOnly = Depends(_admin)
