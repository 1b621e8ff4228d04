"""Reserved space for memory-mapped files: where there is too little, a later write would be a SIGBUS."""

from __future__ import annotations

import os
from pathlib import Path

from triggers.errors import ConfigError


def reserve_file(path: Path, size: int, what: str, remedy: str) -> None:
    """Make a file of `size` allocated bytes; no file is left where that fails.

    Raises ConfigError, which names `what` needs it and the `remedy`.
    """
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        path.unlink()
        raise ConfigError(f"{what}: {size // 1024} KiB cannot be had ({error.strerror}); {remedy}.") from error
    finally:
        os.close(descriptor)
