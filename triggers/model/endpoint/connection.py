"""The connection to an endpoint: kept open, with a deadline, without redirects; from any thread."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from triggers.errors import ConfigError, EndpointUnavailable, ModelError
from triggers.model.endpoint.endpoint_loader import Credentials, EndpointLoader


class Connection(Protocol):
    """Sends one request body to the endpoint and returns the body of its answer."""

    def post(self, body: bytes, headers: Mapping[str, str]) -> tuple[bytes, Mapping[str, str]]:
        """The answer's body and headers. Raises EndpointUnavailable, or ModelError for an answer that is no success."""
        ...

    def close(self) -> None:
        """End all connections."""
        ...


class HttpConnection:
    """A pool of kept HTTP connections."""

    def __init__(self, loader: EndpointLoader) -> None:
        httpx = require_httpx()
        self._loader, self._httpx = loader, httpx
        limits = httpx.Limits(max_connections=loader.concurrency, max_keepalive_connections=loader.concurrency)
        self._client = httpx.Client(timeout=loader.timeout, limits=limits, follow_redirects=False, trust_env=False)

    def post(self, body: bytes, headers: Mapping[str, str]) -> tuple[bytes, Mapping[str, str]]:
        """One request. Raises EndpointUnavailable or ModelError."""
        sent = {**headers, **credential_header(self._loader.credentials)}
        try:
            answer = self._client.post(self._loader.url, content=body, headers=sent)
        except self._httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise EndpointUnavailable(f"The model at {self._loader.url} cannot be reached: {reason}", 1) from error
        if answer.status_code in (429, 502, 503, 504):
            wait = answer.headers.get("retry-after", "1")
            seconds = int(wait) if wait.isdigit() else 1
            raise EndpointUnavailable(f"The model at {self._loader.url} answers {answer.status_code}.", seconds)
        if answer.status_code != 200:
            said = " ".join(answer.text[:300].split())
            raise ModelError(f"The model at {self._loader.url} answers {answer.status_code}: {said}")
        return answer.content, answer.headers

    def close(self) -> None:
        """End all connections."""
        self._client.close()


def credential_header(credentials: Credentials | None) -> dict[str, str]:
    """The header with the credentials as they are now. Raises ConfigError where they are missing."""
    if credentials is None:
        return {}
    if credentials.environment:
        value = os.environ.get(credentials.environment, "")
        place = f"the environment has no {credentials.environment}"
    else:
        path = Path(str(credentials.file))
        value, place = path.read_text(encoding="utf-8") if path.is_file() else "", f"there is no file {path}"
    if not value.strip():
        raise ConfigError(f"The endpoint's credentials are missing: {place}.")
    return {credentials.header: credentials.prefix + value.strip()}


def require_httpx() -> Any:
    """The module httpx. Raises ConfigError."""
    try:
        import httpx
    except ModuleNotFoundError as error:
        raise ConfigError("A model behind an address needs httpx: pip install 'fairtrigger[endpoint]'.") from error
    return httpx
