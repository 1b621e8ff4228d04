"""Addresses lose what must not be shown, and the parameters that are ours; the rest stays as it was."""

from __future__ import annotations

import pytest

from triggers.storage.url_utils import without_parameter, without_password

SHOWN = {
    "redis://user:secret@host:6379/0?password_file=/x": "redis://host:6379/0",
    "redis+cluster://a:1,b:2": "redis+cluster://a:1,b:2",
    "/srv/store": "/srv/store",
}


@pytest.mark.parametrize("url", SHOWN)
def test_a_password_is_not_shown(url: str) -> None:
    assert without_password(url) == SHOWN[url]


TAKEN = {
    "redis://h/0?password_file=/run/secrets/a": ("redis://h/0", "/run/secrets/a"),
    "redis://h/0?db=1&password_file=%2Fa%20b&db=2": ("redis://h/0?db=1&db=2", "/a b"),
    "unix:///run/redis.sock?password_file=/a": ("unix:///run/redis.sock", "/a"),
    "redis+sentinel://u:p%40@a:1,b:2/service/0": ("redis+sentinel://u:p%40@a:1,b:2/service/0", None),
    "redis://h?password_file=": ("redis://h", ""),
}


@pytest.mark.parametrize("url", TAKEN)
def test_a_parameter_of_ours_is_taken_out(url: str) -> None:
    assert without_parameter(url, "password_file") == TAKEN[url]
