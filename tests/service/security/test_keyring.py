"""Callers by their keys: roles, expiry, rates to the request, and a file that changes or breaks meanwhile."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from service.config.settings import Settings
from service.security.keyring import ADMIN_TOKEN, Caller, Keyring
from triggers.api_keys import ROLES, KeyEntry, Role, add_key, new_api_key
from triggers.errors import ConfigError

ENTRY = KeyEntry(hash="blake2b:" + "0" * 64, roles=frozenset({"predict"}))
FUTURE = 10**6
"""Seconds by which the ring's next look at its file is moved to the past."""


def made(path: Path, *roles: Role, name: str = "shop", expires: datetime | None = None) -> tuple[str, str]:
    """Id and text of a new key in the file."""
    key = new_api_key(name, frozenset(roles), expires=expires)
    add_key(path, key)
    return key.id, key.text


def burst_of(caller: Caller, now: float) -> int:
    """Requests that pass at one moment."""
    return next(n for n in range(1000) if caller.take_token(now))


@pytest.mark.parametrize(
    ("rate", "burst", "at_once"),
    [
        (2.0, 1, 1),
        (2.0, 2, 2),
        (2.0, 5, 5),
        (2.0, None, 2),
        (2.5, None, 3),
        (0.7, 7, 7),
        (0.5, None, 1),
        (1.0, None, 1),
    ],
)
def test_a_burst_is_exact_and_comes_back_with_the_rate(rate: float, burst: int | None, at_once: int) -> None:
    caller = Caller("a", b"", ENTRY, rate, burst)
    assert burst_of(caller, 100.0) == at_once
    assert caller.take_token(100.0) == pytest.approx(1 / rate)
    assert caller.take_token(100.0 + 0.99 / rate) == pytest.approx(0.01 / rate)
    assert caller.take_token(100.0 + 1 / rate) == 0 and caller.take_token(100.0 + 1 / rate) > 0
    assert burst_of(caller, 200.0) == at_once, "never more than a burst, however long it was quiet"


def test_without_a_rate_nobody_waits() -> None:
    caller = Caller("a", b"", ENTRY, None, 1)
    assert not any(caller.take_token(5.0) for _ in range(1000))


def test_admin_is_every_role_and_the_others_are_only_themselves() -> None:
    admin = Caller("a", b"", ENTRY.model_copy(update={"roles": frozenset({"admin"})}), None, None)
    assert all(admin.has_role(role) for role in (*ROLES, None))
    shop = Caller("b", b"", ENTRY, None, None)
    assert [role for role in ROLES if shop.has_role(role)] == ["predict"] and shop.has_role(None)


def test_keys_are_found_by_the_whole_key_until_they_expire(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    key_id, good = made(path, "predict")
    late = made(path, "predict", expires=datetime.now(UTC) - timedelta(seconds=1))[1]
    keyring = Keyring(Settings(api_keys=path, admin_token="a-long-enough-token"))
    found, admin = keyring.find(good), keyring.find("a-long-enough-token")
    assert found is not None and found.id == key_id and admin is not None and admin.id == ADMIN_TOKEN
    assert [keyring.find(wrong) for wrong in (None, "", good[:-1], good + "x", late, "a-long-enough-toke")] == [
        None
    ] * 6
    assert not keyring.open and keyring.admits_admin
    assert not Keyring(Settings(api_keys=path)).admits_admin and Keyring(Settings()).open


def test_a_changed_file_is_read_a_broken_one_changes_nothing_and_a_used_up_rate_stays_so(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    first = made(path, "predict")[1]
    keyring = Keyring(Settings(api_keys=path, rate_limit=0.001, rate_burst=1))
    caller = keyring.find(first)
    assert caller is not None and caller.take_token(100.0) == 0 < caller.take_token(100.0)
    second = made(path, "feedback", name="desk")[1]
    assert keyring.find(second) is None, "it looks once a second"
    keyring._reload_at -= FUTURE
    assert keyring.find(second) is not None
    again = keyring.find(first)
    assert again is not None and again is not caller and again.take_token(100.0) > 0
    path.write_text("no keys [")
    keyring._reload_at -= FUTURE
    assert keyring.find(first) is again


def test_keys_that_the_guard_shall_trust_must_be_there(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    key_id, _ = made(path, "predict")
    Keyring(Settings(api_keys=path, guard_keys=key_id))
    Keyring(Settings(admin_token="a-long-enough-token", guard_keys=ADMIN_TOKEN))
    with pytest.raises(ConfigError, match="guard_keys names 'shop-typo', but there is no such key"):
        Keyring(Settings(api_keys=path, guard_keys=f"{key_id},shop-typo"))
    with pytest.raises(ValueError, match="guard_keys names keys, but there are none"):
        Settings(guard_keys=key_id)
