"""API keys of the service, looked up by digest and reloaded when their file changes."""

from __future__ import annotations

import hmac
import logging
import math
import time
from collections.abc import Collection, Mapping
from pathlib import Path

from pydantic import SecretStr

from service.config import Settings
from triggers.api_keys import ROLES, KeyEntry, Role, key_digest, load_keys
from triggers.errors import ConfigError

logger = logging.getLogger(__name__)

RELOAD_SECONDS = 1.0
"""Seconds between checks of the keys file."""
ROUNDING = 1e-6
"""Tolerance in seconds for sums of gaps between requests: without it the last token of a burst was lost."""
ADMIN_TOKEN = "admin-token"
"""Id of the key in the setting `admin_token`."""
_NOBODY = bytes(32)


class Caller:
    """The owner of one key: roles, expiry, and a token bucket (a generic cell rate algorithm)."""

    def __init__(
        self, key_id: str, digest: bytes, entry: KeyEntry | None, rate: float | None, burst: int | None
    ) -> None:
        self.id, self.digest = key_id, digest
        self.roles = frozenset(ROLES) if entry is None or "admin" in entry.roles else entry.roles
        self.expires = entry.expires.timestamp() if entry and entry.expires else math.inf
        self._gap = 1 / rate if rate else 0.0
        self._slack = (max(1, burst or math.ceil(rate or 1)) - 1) * self._gap
        self.free_at = -math.inf

    def has_role(self, role: Role | None) -> bool:
        """Whether it has the role; None is any."""
        return role is None or role in self.roles

    def take_token(self, now: float) -> float:
        """Take a token and return 0, or return the seconds until there is one. `now` is in monotonic seconds."""
        due = max(self.free_at, now)
        if due - now > self._slack + ROUNDING:
            return due - now - self._slack
        self.free_at = due + self._gap
        return 0.0


class Keyring:
    """All keys of the settings. Without a keys file all but the admin routes need no key.

    Raises ConfigError if the keys file cannot be used, or a key of `guard_keys` is missing. A file that becomes
    unusable later changes nothing, and is logged.
    """

    def __init__(self, settings: Settings) -> None:
        self._path, self._rate, self._burst = settings.api_keys, settings.rate_limit, settings.rate_burst
        self._token = settings.admin_token
        self._stamp = _stamp(self._path)
        self._callers = self._read()
        self._expect(settings.guard_keys)
        self._reload_at = time.monotonic() + RELOAD_SECONDS

    @property
    def open(self) -> bool:
        """Whether no key is needed to predict, to give feedback and to read."""
        return self._path is None

    @property
    def admits_admin(self) -> bool:
        """Whether any key opens the admin routes."""
        return any(caller.has_role("admin") for caller in self._callers.values())

    def find(self, given: str | None) -> Caller | None:
        """The owner of this key; None if it is unknown, revoked or expired.

        Wrong, expired and revoked keys take the same steps: one hash, one look-up, one comparison.
        """
        self._reload_if_changed()
        presented = key_digest(given or "")
        caller = self._callers.get(presented)
        same = hmac.compare_digest(caller.digest if caller else _NOBODY, presented)
        return caller if caller is not None and same and time.time() < caller.expires else None

    def _reload_if_changed(self) -> None:
        now = time.monotonic()
        if self._path is None or now < self._reload_at:
            return
        self._reload_at = now + RELOAD_SECONDS
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            before, self._callers = self._callers, self._read()
        except ConfigError as error:
            logger.error("the keys stay as they were: %s", error)
            return
        for digest, caller in self._callers.items():
            if digest in before:  # a changed limit does not refill a used bucket
                caller.free_at = before[digest].free_at
        logger.info("read %d keys from %s", len(self._callers), self._path)

    def _expect(self, ids: Collection[str]) -> None:
        if missing := sorted(set(ids) - {caller.id for caller in self._callers.values()}):
            raise ConfigError(f"guard_keys names {missing[0]!r}, but there is no such key: `fairtrigger keys list`.")

    def _read(self) -> Mapping[bytes, Caller]:
        found = load_keys(self._path) if self._path else {}
        callers = [
            Caller(key_id, entry.digest, entry, entry.rate or self._rate, entry.burst or self._burst)
            for key_id, entry in found.items()
        ]
        if self._token is not None:
            callers.append(self._single(self._token))
        return {caller.digest: caller for caller in callers}

    def _single(self, token: SecretStr) -> Caller:
        return Caller(ADMIN_TOKEN, key_digest(token.get_secret_value()), None, None, None)


def _stamp(path: Path | None) -> tuple[int, int, int] | None:
    """Modification time, size and inode, which change with the file."""
    try:
        found = path.stat() if path else None
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size, found.st_ino) if found else None
