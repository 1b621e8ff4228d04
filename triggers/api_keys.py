"""API keys: their creation, the file that keeps their hashes, their roles and limits.

    [keys.shop-7f3a9c]
    hash = "blake2b:..."           # of the whole key; the key itself is printed once and kept nowhere
    roles = ["predict"]            # predict, feedback, observe, statistics, admin
    expires = 2027-01-01T00:00:00Z # optional; without it, never
    rate = 50.0                    # optional, requests per second
    burst = 100                    # optional, how many may come at once; default: what comes in a second

The same as JSON: {"keys": {"shop-7f3a9c": {...}}}, with `expires` as text. A key is 256 random bits, so that guessing
it is hopeless however fast the hash is: BLAKE2b costs a request a microsecond. A slow hash (scrypt, Argon2) protects
secrets that people choose; here it would only let strangers keep a core busy with wrong keys.
"""

from __future__ import annotations

import json
import secrets
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from triggers.errors import ConfigError
from triggers.storage import write_atomically
from triggers.storage.regular_file import read_regular

Role = Literal["predict", "feedback", "observe", "statistics", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
API_KEY_BYTES = 32
WORLD_WRITABLE = 0o002
KeyId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]


class KeyEntry(BaseModel):
    """The file's entry of one key. `admin` includes every other role."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    hash: str = Field(pattern=r"^blake2b:[0-9a-f]{64}$")
    roles: frozenset[Role] = Field(min_length=1)
    expires: AwareDatetime | None = None
    rate: float | None = Field(default=None, gt=0)
    burst: int | None = Field(default=None, ge=1)

    @property
    def digest(self) -> bytes:
        """The 32 bytes of the hash."""
        return bytes.fromhex(self.hash.removeprefix("blake2b:"))

    def expired(self, now: datetime) -> bool:
        """Whether the key has expired."""
        return self.expires is not None and now >= self.expires


class _KeyFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    keys: dict[KeyId, KeyEntry] = Field(default={})


@dataclass(frozen=True)
class NewKey:
    """A key that was just made: `text` is the secret, `entry` is what may be written down."""

    id: str
    text: str
    entry: KeyEntry


def key_digest(key: str) -> bytes:
    """BLAKE2b of a key as a client sends it, 32 bytes."""
    return blake2b(key.encode(), digest_size=32, person=b"fairtriggerkey").digest()


def new_api_key(
    name: str,
    roles: Iterable[str],
    expires: datetime | None = None,
    rate: float | None = None,
    burst: int | None = None,
) -> NewKey:
    """A random key whose id is `name` and some random digits. Raises ConfigError."""
    key_id = f"{name}-{secrets.token_hex(3)}"
    text = f"ft_{key_id}_{secrets.token_urlsafe(API_KEY_BYTES)}"
    fields = {"hash": f"blake2b:{key_digest(text).hex()}", "roles": frozenset(roles), "expires": expires}
    document = {"keys": {key_id: fields | {"rate": rate, "burst": burst}}}
    return NewKey(key_id, text, _checked(document, "The new key")[key_id])


def load_keys(path: Path) -> dict[str, KeyEntry]:
    """Every key of a TOML or JSON file, by id. Raises ConfigError."""
    try:
        if path.stat().st_mode & WORLD_WRITABLE:
            raise ConfigError(f"Everybody on this machine may change the keys in {path}: chmod o-w it.")
        text = read_regular(path).decode()
        document = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"The keys file {path} cannot be read ({error.strerror}): check api_keys.") from error
    except ValueError as error:
        raise ConfigError(f"The keys file {path} is no {path.suffix.lstrip('.') or 'toml'}: {error}.") from error
    return _checked(document, f"The keys file {path}")


def add_key(path: Path, key: NewKey) -> None:
    """Add a key to a file, which is made if there is none; mode 0600 then. Raises ConfigError."""
    if path.suffix == ".json":
        before = json.loads(read_regular(path)) if path.exists() and load_keys(path) is not None else {}
        fields = key.entry.model_dump(mode="json", exclude_none=True)
        text = json.dumps(before | {"keys": before.get("keys", {}) | {key.id: fields}}, indent=2) + "\n"
    else:
        before_text = read_regular(path).decode() + "\n" if path.exists() and load_keys(path) is not None else ""
        text = before_text + as_toml(key)
    write_key_file(path, text)


def write_key_file(path: Path, text: str) -> None:
    """Replace the file atomically, so that a running service never reads half of it."""
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
    write_atomically(path, text.encode())
    path.chmod(mode)


def as_toml(key: NewKey) -> str:
    """The key's table in TOML."""
    fields = key.entry.model_dump(exclude_none=True)
    fields["roles"] = sorted(key.entry.roles)
    if key.entry.expires:
        fields["expires"] = key.entry.expires.astimezone(UTC).isoformat(timespec="seconds")
    lines = [f"{name} = {value if name == 'expires' else json.dumps(value)}" for name, value in fields.items()]
    return "\n".join([f"[keys.{key.id}]", *lines, ""])


def _checked(document: object, what: str) -> dict[str, KeyEntry]:
    try:
        keys = _KeyFile.model_validate(document).keys
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{what} is not as it should be: {place}: {first['msg']}.") from error
    hashes = [entry.hash for entry in keys.values()]
    if len(set(hashes)) < len(hashes):
        raise ConfigError(f"{what} holds one hash twice: give every key an entry of its own.")
    return keys
