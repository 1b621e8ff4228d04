"""Routes of the dashboard: the page and its files under a strict Content-Security-Policy, and a check of the token."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from service.api.auth_dependencies import AdminOnly
from service.api.dashboard.files import PAGE, PLOTLY, WITHOUT_PLOTLY, find_file, plotly_script
from service.api.pooled_route import PooledRoute
from service.api.static_files import StaticFile, static_answer
from service.errors import ProblemError

EMPTY_STYLE = "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"
"""Hash of the empty string: plotly makes an empty style element and fills it rule by rule, which scripts always may."""
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        f"style-src 'self' {EMPTY_STYLE}",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
router = APIRouter(route_class=PooledRoute, prefix="/dashboard", include_in_schema=False)


@router.get("")
def show_page(request: Request) -> Response:
    """The page; where plotly is missing one that says what to install, with status 501."""
    complete = plotly_script() is not None
    return _answer(request, find_file(PAGE if complete else WITHOUT_PLOTLY), 200 if complete else 501)


@router.get("/token", dependencies=[AdminOnly])
def check_token() -> Response:
    """204 if the bearer token is the admin token, so that a mistyped one is noticed before it is needed."""
    return Response(status_code=204, headers={"Cache-Control": "no-store"})


@router.get("/{name}")
def show_file(request: Request, name: Annotated[str, Path(pattern=r"^[a-z][a-z.-]{1,40}\.(js|css|svg)$")]) -> Response:
    """A script, the style sheet, or plotly."""
    found = find_file(name)
    if found is None:
        hint = "install fairtrigger[dashboard]" if name == PLOTLY else "the page is /dashboard"
        raise ProblemError(404, "not_found", f"The dashboard has no file {name!r}; {hint}.")
    return _answer(request, found)


def _answer(request: Request, file: StaticFile | None, status: int = 200) -> Response:
    assert file is not None, "the package data of service.api.dashboard are missing"
    return static_answer(request, file, HEADERS, status)
