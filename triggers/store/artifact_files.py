"""Content-addressed files of artifacts, for stores that are no folder: never changed, so writes may be repeated."""

from __future__ import annotations

from typing import Any, Protocol

from triggers.artifact.artifact import MAX_ARTIFACT_BYTES
from triggers.errors import ConfigError, NotFound, StoreUnavailable
from triggers.storage.regular_file import read_regular

CONNECT_SECONDS, READ_SECONDS = 5, 20
"""Seconds that an object store may take to accept a connection, and to send the next bytes."""
_S3 = {"connect_timeout": CONNECT_SECONDS, "read_timeout": READ_SECONDS, "retries": {"max_attempts": 3}}
"""Putting the same bytes under their hash again does no harm, so these requests may be repeated."""


class ArtifactFiles(Protocol):
    """Bytes by model and by `sha256`, in hexadecimal. Both methods raise StoreUnavailable."""

    def put(self, model: str, sha256: str, data: bytes) -> None:
        """Store bytes."""
        ...

    def get(self, model: str, sha256: str) -> bytes:
        """The bytes, not verified; at most MAX_ARTIFACT_BYTES + 1. Raises NotFound."""
        ...


class CloudFiles:
    """Objects below an fsspec URL: `s3://bucket/prefix`, `gs://...`, `file:///mounted/folder`. Extra `cloud`.

    Credentials and endpoints come from the environment, as the provider's own tools read them (AWS_ENDPOINT_URL, ...).
    """

    def __init__(self, url: str) -> None:
        try:
            import fsspec
        except ImportError as error:
            raise ConfigError(f"Artifacts at {url} need the extra: pip install 'fairtrigger[cloud]'.") from error
        scheme, separator, rest = url.partition("://")
        if not separator or not rest.strip("/"):
            raise ConfigError(f"Artifacts at {url!r}: give an address such as s3://bucket/prefix.")
        s3 = {"config_kwargs": _S3} if scheme in ("s3", "s3a") else {}
        options: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": True} | s3
        if scheme == "file":
            options["auto_mkdir"] = True
        try:
            self._files, root = fsspec.core.url_to_fs(url, **options)
        except (ImportError, ValueError) as error:
            raise ConfigError(f"Artifacts at {url}: {error}") from error
        self.url, self._root, self._local = url, root.rstrip("/"), scheme == "file"

    def put(self, model: str, sha256: str, data: bytes) -> None:
        """Write one object."""
        try:
            self._files.pipe_file(self._path(model, sha256), data)
        except Exception as error:  # every provider has errors of its own, without a common base
            raise self._unavailable(error) from error

    def get(self, model: str, sha256: str) -> bytes:
        """Read one object."""
        path = self._path(model, sha256)
        try:
            if self._local:
                return read_regular(path, MAX_ARTIFACT_BYTES + 1)
            data: bytes = self._files.cat_file(path, start=0, end=MAX_ARTIFACT_BYTES + 1)
        except FileNotFoundError as error:
            raise NotFound(f"There is no object {path}.") from error
        except Exception as error:  # every provider has errors of its own, without a common base
            raise self._unavailable(error) from error
        return data

    def _path(self, model: str, sha256: str) -> str:
        return f"{self._root}/{model}/{sha256}.safetensors"

    def _unavailable(self, error: Exception) -> StoreUnavailable:
        return StoreUnavailable(f"Artifacts at {self.url} cannot be reached: {type(error).__name__}: {error}.")
