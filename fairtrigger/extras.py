"""Optional packages: a plain line where one is missing."""

from __future__ import annotations

from importlib.util import find_spec

from triggers.errors import ConfigError


def require_extra(extra: str, *modules: str) -> None:
    """Raise ConfigError unless all of these modules of an extra are installed."""
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        raise ConfigError(f"This needs {', '.join(missing)}: pip install 'fairtrigger[{extra}]'.")
