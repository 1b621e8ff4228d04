"""Extras: what is not installed is named, with the command that installs it."""

from __future__ import annotations

import pytest

from fairtrigger.extras import require_extra
from triggers.errors import ConfigError


def test_what_is_missing_is_named_with_its_extra() -> None:
    require_extra("client", "httpx", "json")
    with pytest.raises(ConfigError) as found:
        require_extra("demo", "json", "no_such_package", "none_either")
    assert str(found.value) == "This needs no_such_package, none_either: pip install 'fairtrigger[demo]'."
