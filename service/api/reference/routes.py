"""Routes of /docs: Swagger UI, whose files come from the package fastapi-offline and from no other machine."""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import HTMLResponse

from service.api.pooled_route import PooledRoute
from service.api.reference.plain_page import plain_page
from service.api.static_files import package_file, static_answer, static_file
from service.errors import ProblemError

STATIC_FOLDER = FilePath(__file__).parent / "static"
PAGE, SCRIPT = "index.html", "swagger-ui-bundle.js"
OWN, OF_SWAGGER = ("start.js",), (SCRIPT, "swagger-ui.css")
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {"Content-Security-Policy": POLICY, "Cross-Origin-Opener-Policy": "same-origin"}
router = APIRouter(route_class=PooledRoute, prefix="/docs", include_in_schema=False)


@router.get("")
def show_reference(request: Request) -> Response:
    """Every operation, to be read and tried; without the extra `dashboard` a page to be read."""
    page = static_file(STATIC_FOLDER / PAGE)
    if page is None or swagger_file(SCRIPT) is None:
        return HTMLResponse(plain_page(request.app.openapi()))
    return static_answer(request, page, HEADERS)


@router.get("/{name}")
def show_reference_file(request: Request, name: Annotated[str, Path(pattern=r"^[a-z-]{1,40}\.(js|css)$")]) -> Response:
    """A script or the style sheet of that page."""
    file = static_file(STATIC_FOLDER / name if name in OWN else swagger_file(name))
    if file is None:
        raise ProblemError(404, "not_found", f"The reference has no file {name!r}; the page is /docs.")
    return static_answer(request, file, HEADERS | {"Cache-Control": "no-cache"})


def swagger_file(name: str) -> FilePath | None:
    """Path of a file of Swagger UI in the installed package; None without the extra `dashboard`."""
    return package_file("fastapi_offline", f"static/{name}") if name in OF_SWAGGER else None
