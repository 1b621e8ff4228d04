"""Secrets in files, as containers mount them: the environment or a URL names the file, not the secret."""

from __future__ import annotations

from pathlib import Path

from triggers.errors import ConfigError
from triggers.storage.regular_file import read_regular

MAX_SECRET_BYTES = 64 * 1024


def read_secret(path: Path, named_by: str) -> str:
    """The content of the file, stripped of white space. Raises ConfigError if it cannot be read or is empty."""
    try:
        text = read_regular(path, MAX_SECRET_BYTES + 1).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{named_by} names {path}, which cannot be read ({error}).") from error
    if not text or len(text) > MAX_SECRET_BYTES:
        raise ConfigError(f"{named_by} names {path}, which is empty or longer than {MAX_SECRET_BYTES} bytes.")
    return text
