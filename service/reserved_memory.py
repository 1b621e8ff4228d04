"""Files that are mapped, with their room reserved first: where there is too little, a later write would be a SIGBUS."""

from __future__ import annotations

import os
from pathlib import Path

from triggers.errors import ConfigError


def reserve_file(path: Path, size: int, what: str, remedy: str) -> None:
    """Make a file of `size` bytes, all of them its own; none is left where that fails.

    Raises ConfigError, which names `what` it is for and the `remedy`.
    """
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        path.unlink()
        raise ConfigError(f"{what}: {size // 1024} KiB cannot be had ({error.strerror}); {remedy}.") from error
    finally:
        os.close(descriptor)
