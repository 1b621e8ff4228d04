"""A secret in a file, such as a container is given it: the environment or an address names the file, not the secret."""

from __future__ import annotations

from pathlib import Path

from triggers.errors import ConfigError
from triggers.regular_file import read_regular

MAX_BYTES = 64 * 1024


def read_secret(path: Path, named_by: str) -> str:
    """What the file holds, without white space around it. Raises ConfigError if it cannot be read or is empty."""
    try:
        text = read_regular(path, MAX_BYTES + 1).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{named_by} names {path}, which cannot be read ({error}).") from error
    if not text or len(text) > MAX_BYTES:
        raise ConfigError(f"{named_by} names {path}, which is empty or longer than {MAX_BYTES} bytes.")
    return text
