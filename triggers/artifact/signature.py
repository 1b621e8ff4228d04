"""Signatures of artifacts: Ed25519 over the digest, carried in its file, and the public keys that are trusted.

The signed text is `fairtrigger-artifact-v1:` and the digest, which covers tensors and manifest without provenance.
Keys are PEM files (PKCS 8 private, SubjectPublicKeyInfo public), as `openssl genpkey -algorithm ed25519` writes them,
too. Needs the extra `signing` where something is signed or verified.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triggers.errors import ArtifactUntrusted, ConfigError
from triggers.storage.regular_file import read_regular

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

STATEMENT_PREFIX = "fairtrigger-artifact-v1:"
HISTORY_PREFIX = "fairtrigger-history-v1:"
"""Prefix of the signed text of a history entry; the digest of everything in the entry follows it
(triggers/rollout/rollout_history.py).
"""
MAX_KEY_BYTES = 64 * 1024


@dataclass(frozen=True)
class Signature:
    """`key` is the first 16 hexadecimal digits of the SHA-256 of the public key, `value` 64 bytes in base64."""

    key: str
    value: str


@dataclass(frozen=True)
class Signer:
    """Signs digests with one private key."""

    private: Ed25519PrivateKey

    def sign(self, digest: str, prefix: str = STATEMENT_PREFIX) -> Signature:
        """The signature over one digest; `prefix` names the kind of thing that is signed."""
        value = base64.b64encode(self.private.sign(_statement(digest, prefix))).decode()
        return Signature(public_key_id(self.private.public_key()), value)


@dataclass(frozen=True)
class Trust:
    """Public keys by id with the names of their owners, and whether an artifact must have a signature.

    Without any keys nothing is checked. With keys, a signature must be by one of them; with `required` one must exist.
    """

    keys: Mapping[str, tuple[str, Ed25519PublicKey]] = field(default_factory=dict)
    required: bool = False

    def check(self, digest: str, signature: Signature | None) -> str | None:
        """The signer's name; None for an unsigned artifact, or without keys. Raises ArtifactUntrusted."""
        if not self.keys:
            return None
        if signature is None:
            if self.required:
                raise ArtifactUntrusted(f"The trigger {digest} is not signed, and signatures are required here.")
            return None
        if signature.key not in self.keys:
            known = ", ".join(sorted(name for name, _ in self.keys.values()))
            raise ArtifactUntrusted(f"The trigger {digest} is signed by unknown key {signature.key}; trusted: {known}.")
        name, public = self.keys[signature.key]
        if not _holds(public, digest, signature):
            raise ArtifactUntrusted(f"The signature of {digest} is not by {name}'s key {signature.key}: it is forged.")
        return name

    def vouched(self, digest: str, signature: Signature, prefix: str) -> str | None:
        """The signer's name; None if the key is not among these, or the signature is forged."""
        name, public = self.keys.get(signature.key, (None, None))
        return name if public is not None and _holds(public, digest, signature, prefix) else None


TRUST_ANYONE = Trust()
"""No keys: signatures are not checked."""


def read_trust(paths: Iterable[Path], *, required: bool = False) -> Trust:
    """Trust the public keys in these PEM files, or folders of `*.pub` files; a file's name is its owner's.

    Raises ConfigError for what cannot be read, and if signatures are required and there is no key.
    """
    files = [each for path in paths for each in (sorted(path.glob("*.pub")) if path.is_dir() else [path])]
    keys = {public_key_id(public): (file.stem, public) for file in files for public in [_read_public(file)]}
    if required and not keys:
        raise ConfigError("Signatures are required, but there is no trusted key: give trusted_keys.")
    return Trust(keys, required)


def read_signer(path: Path) -> Signer:
    """The private key in a PEM file. Raises ConfigError."""
    library = _library()
    try:
        private = library.serialization.load_pem_private_key(read_regular(path, MAX_KEY_BYTES), password=None)
    except (OSError, ValueError, TypeError, library.UnsupportedAlgorithm) as error:
        raise ConfigError(f"The signing key {path} cannot be read: {error}. Make one: fairtrigger keygen") from error
    if not isinstance(private, library.Ed25519PrivateKey):
        raise ConfigError(f"The signing key {path} is no Ed25519 key. Make one: fairtrigger keygen")
    return Signer(private)


def read_history_trust(own: Signer | None, paths: Iterable[Path]) -> Trust:
    """The keys trusted for entries of a history: the public keys and one's own. Raises ConfigError."""
    trust = read_trust(paths)
    if own is None:
        return trust
    public = own.private.public_key()
    return Trust({public_key_id(public): ("this key", public), **trust.keys})


def make_keys() -> tuple[bytes, bytes, str]:
    """A new private and public key as PEM, and their id."""
    library = _library()
    private = library.Ed25519PrivateKey.generate()
    forms = library.serialization
    secret = private.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.NoEncryption())
    public = private.public_key()
    open_half = public.public_bytes(forms.Encoding.PEM, forms.PublicFormat.SubjectPublicKeyInfo)
    return secret, open_half, public_key_id(public)


def public_key_id(public: Ed25519PublicKey) -> str:
    """Id of a public key, by which a signature names it."""
    return hashlib.sha256(public.public_bytes_raw()).hexdigest()[:16]


def _read_public(path: Path) -> Ed25519PublicKey:
    library = _library()
    try:
        public = library.serialization.load_pem_public_key(read_regular(path, MAX_KEY_BYTES))
    except (OSError, ValueError, library.UnsupportedAlgorithm) as error:
        raise ConfigError(f"The trusted key {path} cannot be read: {error}. Give the .pub file.") from error
    if not isinstance(public, library.Ed25519PublicKey):
        raise ConfigError(f"The trusted key {path} is no Ed25519 public key.")
    found: Ed25519PublicKey = public
    return found


def _holds(public: Ed25519PublicKey, digest: str, signature: Signature, prefix: str = STATEMENT_PREFIX) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        public.verify(base64.b64decode(signature.value, validate=True), _statement(digest, prefix))
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def _statement(digest: str, prefix: str) -> bytes:
    return (prefix + digest).encode()


def _library() -> Any:
    """The parts of `cryptography` that are used here. Raises ConfigError if it is not installed."""
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise ConfigError("Signatures need the extra: pip install 'fairtrigger[signing]'.") from error
    return _Library(serialization, ed25519.Ed25519PrivateKey, ed25519.Ed25519PublicKey, UnsupportedAlgorithm)


@dataclass(frozen=True)
class _Library:
    serialization: Any
    Ed25519PrivateKey: Any
    Ed25519PublicKey: Any
    UnsupportedAlgorithm: Any
