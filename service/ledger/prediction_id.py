"""Self-contained prediction ids, sealed with AES-GCM, so that late labels need no table of predictions.

    id = base64url( format 1 | key id 4 | nonce 12 | ciphertext | tag 16 )
    ciphertext of (minute, version, prediction, bare, trusted, group, shadows)

The model's name is authenticated but not stored: an id opens only for the model that it was made for. The group is
padded, so that its length cannot be read off. An id cannot be forged or changed and survives a restart, as long as its
key is kept. The first key seals, all keys open: to rotate, put a new one first and drop the old one when no label for
its predictions is expected any more. Rotate before 2**32 ids per key, the usual limit for random nonces.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
import struct
from binascii import b2a_base64
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from service.ledger.events import NONCE_BYTES, PredictionEvent
from triggers.errors import ConfigError, InputError
from triggers.storage.atomic_files import write_temporary
from triggers.storage.regular_file import read_regular

ID_FORMAT = b"\x01"
SEALING_KEY_BYTES = 32
KEY_ID_BYTES = 4
KEY_FILE = "receipt.keys"
_FIELDS = struct.Struct(
    ">IIHHH"
)  # minute, version (0: none), prediction, bare + 1 (0: none), bytes of the group | flag
_TRUSTED = 1 << 15  # a group is far shorter
_SHADOW = struct.Struct(">IH")  # version, prediction; one for each shadow, after the padding
_PAD = 16
PRESEALED_IDS, MAX_KINDS = 16, 4096
"""Ids sealed at a time for one payload, and most payloads with ids in reserve."""
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_HEAD = len(ID_FORMAT) + KEY_ID_BYTES + NONCE_BYTES


class PredictionIdCodec:
    """Codec of prediction ids: seals and opens them. On any thread."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys or any(len(key) != SEALING_KEY_BYTES for key in keys):
            lengths = [len(key) for key in keys]
            raise ConfigError(
                f"Receipt keys have {lengths} bytes; give at least one key, each of {SEALING_KEY_BYTES} bytes."
            )
        self._ciphers = {sealing_key_id(key): AESGCM(key) for key in reversed(keys)}
        self._hash_keys = {sealing_key_id(key): _hash_key(key) for key in keys}
        self._head, self._cipher = ID_FORMAT + sealing_key_id(keys[0]), self._ciphers[sealing_key_id(keys[0])]
        self._noise = hashlib.sha256(b"fairtrigger noise\0" + keys[-1]).digest()

    @classmethod
    def from_folder(cls, folder: Path, keys: Sequence[str] = ()) -> PredictionIdCodec:
        """A codec with these base64 keys, or else those of `folder`/receipt.keys, which is made on first use."""
        if keys:
            return cls([parse_sealing_key(text, "the settings") for text in keys])
        path = folder / KEY_FILE
        return cls([parse_sealing_key(line, str(path)) for line in _key_file(path).split()])

    @property
    def noise_key(self) -> bytes:
        """Key of the disclosure noise, a hash of the oldest sealing key: the same for all replicas."""
        return self._noise

    def seal(self, event: PredictionEvent) -> str:
        """The prediction id of `event`."""
        return self.seal_packed(pack_event(event), event.nonce, event.model)

    def seal_packed(self, payload: bytes, nonce: bytes, model: str) -> str:
        """The prediction id of a payload made by `pack_event`; a nonce must never be used twice."""
        head = self._head + nonce
        token = head + self._cipher.encrypt(nonce, payload, _bound(head, model))
        return b2a_base64(token, newline=False).translate(_URL_SAFE).rstrip(b"=").decode()

    def seal_observed(self, event: PredictionEvent, content: bytes) -> tuple[PredictionEvent, str]:
        """The event with a nonce that is a keyed hash of it and of `content`, and its prediction id.

        So the id tells whether an observation is the one that it was made for (`is_observed`), without keeping it.
        """
        event = replace(event, nonce=_synthetic(self._hash_keys[self._head[len(ID_FORMAT) :]], event, content))
        return event, self.seal(event)

    def is_observed(self, prediction_id: str, event: PredictionEvent, content: bytes) -> bool:
        """Whether the id, which opens as `event`, was made for this content."""
        key_id = _decode(prediction_id)[len(ID_FORMAT) : len(ID_FORMAT) + KEY_ID_BYTES]
        return hmac.compare_digest(event.nonce, _synthetic(self._hash_keys[key_id], event, content))

    def open(self, prediction_id: str, model: str) -> PredictionEvent:
        """The event behind an id. Raises InputError("invalid_prediction_id") unless it was sealed here for `model`."""
        try:
            token = _decode(prediction_id)
            head, sealed = token[:_HEAD], token[_HEAD:]
            nonce = head[-NONCE_BYTES:]
            cipher = self._ciphers[head[len(ID_FORMAT) : -NONCE_BYTES]]
            return _unpack(cipher.decrypt(nonce, sealed, _bound(head, model)), model, nonce)
        except (ValueError, KeyError, InvalidTag, struct.error):
            raise InputError(
                "invalid_prediction_id",
                f"{_shown(prediction_id)} is not a prediction id that this service gave for model {model!r}; "
                "send the prediction_id of a response unchanged, to the model that answered.",
            ) from None


class NoncePool:
    """A pool of random nonces, drawn a thousand at a time: a system call for each would cost a thread switch.

    On any thread; emptied in a forked child.
    """

    def __init__(self) -> None:
        self._ready: list[bytes] = []
        os.register_at_fork(after_in_child=self._ready.clear)

    def next(self) -> bytes:
        """A nonce that was never returned before."""
        while True:
            try:
                return self._ready.pop()
            except IndexError:
                drawn = os.urandom(1000 * NONCE_BYTES)
                self._ready.extend(drawn[at : at + NONCE_BYTES] for at in range(0, len(drawn), NONCE_BYTES))


class PredictionIdPool:
    """A pool of one model's prediction ids, sealed PRESEALED_IDS at a time for equal payloads, which is far faster.

    Emptied in a forked child.
    """

    def __init__(self, codec: PredictionIdCodec, model: str) -> None:
        self._codec, self._model, self._nonces = codec, model, NoncePool()
        self._ready: dict[bytes, list[str]] = {}
        os.register_at_fork(after_in_child=self._ready.clear)

    def next(self, payload: bytes) -> str:
        """A new id for a payload made by `pack_event`."""
        ready = self._ready.get(payload)
        if ready is None:  # the first of its kind, and often the only one
            if len(self._ready) >= MAX_KINDS:
                self._ready.clear()
            self._ready[payload] = []
            return self._seal(payload)
        if not ready:
            ready.extend([self._seal(payload) for _ in range(PRESEALED_IDS)])
        return ready.pop()

    def _seal(self, payload: bytes) -> str:
        return self._codec.seal_packed(payload, self._nonces.next(), self._model)


def sealing_key_id(key: bytes) -> bytes:
    """Public id of a key: the first KEY_ID_BYTES of a hash."""
    return hashlib.sha256(b"fairtrigger receipt key\0" + key).digest()[:KEY_ID_BYTES]


def _hash_key(key: bytes) -> bytes:
    return hashlib.sha256(b"fairtrigger observation\0" + key).digest()


def _synthetic(hash_key: bytes, event: PredictionEvent, content: bytes) -> bytes:
    """A nonce that no other plaintext gets: a keyed hash of the plaintext, the model and the content."""
    said = (pack_event(event), event.model.encode(), content)
    framed = b"".join(len(each).to_bytes(4, "big") + each for each in said)
    return hashlib.blake2b(framed, key=hash_key, digest_size=NONCE_BYTES).digest()


def new_sealing_key() -> str:
    """A fresh random key, as it is written in settings and in the key file."""
    return base64.b64encode(secrets.token_bytes(SEALING_KEY_BYTES)).decode()


def parse_sealing_key(text: str, where: str) -> bytes:
    """Bytes of a base64 key. Raises ConfigError, which never shows the key."""
    try:
        key = base64.b64decode(text.strip().replace("-", "+").replace("_", "/"), validate=True)
    except ValueError:
        key = b""
    if len(key) != SEALING_KEY_BYTES:
        raise ConfigError(
            f"A receipt key in {where} is not {SEALING_KEY_BYTES} bytes of base64; make one with `openssl rand "
            f"-base64 32`."
        )
    return key


def _key_file(path: Path) -> str:
    """Text of the key file, made atomically on first use, also when several processes start at once."""
    if not path.exists():
        temporary = write_temporary(path.parent, f"{new_sealing_key()}\n".encode())
        try:
            os.link(temporary, path)
        except FileExistsError:
            pass  # another process was first: all use its key
        finally:
            temporary.unlink()
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise ConfigError(f"{path} has mode {mode:o}: others may read the key and forge ids; run `chmod 600 {path}`.")
    return read_regular(path).decode("ascii", errors="replace")


def _bound(head: bytes, model: str) -> bytes:
    """Associated data of the seal: authenticated, not encrypted."""
    return head + model.encode()


def pack_event(event: PredictionEvent) -> bytes:
    """Plaintext of a prediction id."""
    group = event.group.encode()
    bare = 0 if event.bare is None else event.bare + 1
    fields = _FIELDS.pack(
        event.minute, event.version or 0, event.prediction, bare, len(group) | _TRUSTED * event.trusted
    )
    shadows = b"".join(_SHADOW.pack(*shadow) for shadow in event.shadows)
    return fields + group + b"\0" * (-len(group) % _PAD) + shadows


def _unpack(data: bytes, model: str, nonce: bytes) -> PredictionEvent:
    minute, version, prediction, bare, flagged = _FIELDS.unpack_from(data)
    length, trusted = flagged & ~_TRUSTED, bool(flagged & _TRUSTED)
    group = data[_FIELDS.size : _FIELDS.size + length].decode()
    shadows = tuple(_SHADOW.iter_unpack(data[_FIELDS.size + length + -length % _PAD :]))
    before = bare - 1 if bare else None
    return PredictionEvent(model, minute, version or None, prediction, group, before, nonce, shadows, trusted=trusted)


def _decode(prediction_id: str) -> bytes:
    """Bytes of an id; only the one spelling that `seal` writes is accepted."""
    raw = prediction_id.encode("ascii")
    token = base64.b64decode(raw + b"=" * (-len(raw) % 4), altchars=b"-_", validate=True)
    if token[:1] != ID_FORMAT or base64.urlsafe_b64encode(token).rstrip(b"=") != raw:
        raise ValueError("another format or spelling")
    return token


def _shown(prediction_id: str) -> str:
    return repr(prediction_id if len(prediction_id) <= 24 else f"{prediction_id[:24]}...")
