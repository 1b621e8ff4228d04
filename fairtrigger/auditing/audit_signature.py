"""The digest of an audit's document, its signature, and the check that every figure follows from the counts."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fairtrigger.auditing.audit_figures import FORMAT, audit_facts, derive, input_of
from fairtrigger.auditing.audited_counts import JsonDict
from triggers.artifact.signature import Signature, Signer, Trust
from triggers.errors import ArtifactUntrusted, DataError, FairtriggerError
from triggers.storage.regular_file import read_regular

AUDIT_PREFIX = "fairtrigger-audit-v1:"
"""Prefix of the signed text; the digest follows it."""
REWORDED = ("findings", "cautions")
"""What another release may word otherwise."""
FIGURE_TOLERANCE = 1e-9
MAX_AUDIT_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True)
class AuditCheck:
    """What a check found: how many numbers, which differ, whose signature holds, and a sentence about it."""

    numbers: int
    differences: tuple[str, ...]
    signed_by: str | None
    signature: str

    @property
    def holds(self) -> bool:
        """Whether every figure follows from the counts."""
        return not self.differences


def document_digest(document: Mapping[str, Any]) -> str:
    """SHA-256 of the document without its digest and signature, as JSON with sorted keys and no blanks."""
    kept = {key: value for key, value in document.items() if key not in ("digest", "signature")}
    text = json.dumps(kept, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def sealed(document: Mapping[str, Any], signer: Signer | None) -> JsonDict:
    """The document with its digest, and with a signature over it if there is a key."""
    digest = document_digest(document)
    signature = asdict(signer.sign(digest, AUDIT_PREFIX)) if signer else None
    return {**document, "digest": digest, "signature": signature}


def check_audit(path: Path, trust: Trust) -> AuditCheck:
    """Recompute every figure of a written audit.json from its counts, and check its digest and signature.

    Raises DataError for a file that is no audit, ArtifactUntrusted for a signature that does not hold, or is missing
    where `trust` requires one.
    """
    document = _read(path)
    try:
        found = input_of(document)
        expected = audit_facts(found, document["software"], document["created_at"], document["template"])
        expected |= derive(found, document["template"])
    except (KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
        raise DataError(f"{path} is no whole audit: {type(error).__name__}: {error}.") from error
    written = {key: value for key, value in document.items() if key not in ("digest", "signature")}
    if document["software"] != own_software():
        for key in REWORDED:
            expected[key] = written.get(key)
    differences = list(_differences(written, json.loads(json.dumps(expected)), ""))
    if document.get("digest") != document_digest(document):
        differences.append("digest")
    by, words = _signer_of(document, trust)
    return AuditCheck(sum(1 for _ in _leaves(expected)), tuple(differences), by, words)


def own_software() -> dict[str, str]:
    """Name and version of this program, as an audit states it."""
    try:
        return {"name": "fairtrigger", "version": version("fairtrigger")}
    except PackageNotFoundError:  # run from a checkout that was never installed
        return {"name": "fairtrigger", "version": "0+source"}


def _read(path: Path) -> JsonDict:
    try:
        document = json.loads(read_regular(path, MAX_AUDIT_BYTES))
    except ValueError as error:
        raise DataError(f"{path} is no JSON: {error}. Give the audit.json of an audit.") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise DataError(f"{path} is no audit of the format {FORMAT}. Give the audit.json of an audit.")
    return document


def _signer_of(document: JsonDict, trust: Trust) -> tuple[str | None, str]:
    """The signer's name, and a sentence about the signature. Raises ArtifactUntrusted."""
    said = document.get("signature")
    if said is None:
        if trust.required:
            raise ArtifactUntrusted("The audit is not signed, and signatures are required here.")
        return None, "not signed: nothing shows who made it, or that its counts were not changed"
    try:
        signature = Signature(said["key"], said["value"])
    except (KeyError, TypeError) as error:
        raise DataError("The audit's signature is no key and value.") from error
    if not trust.keys:
        return None, f"signed by key {signature.key}, which was not checked: give --trusted-keys before the command"
    by = trust.vouched(document_digest(document), signature, AUDIT_PREFIX)
    if by is None:
        raise ArtifactUntrusted(
            f"The signature by key {signature.key} does not hold: no trusted key has signed these counts and figures."
        )
    return by, f"signed by {by}, key {signature.key}"


def _differences(written: Any, expected: Any, place: str) -> Iterator[str]:
    """Places where a written value is not the expected one."""
    if isinstance(written, dict) and isinstance(expected, dict):
        for key in sorted(written.keys() | expected.keys()):
            yield from _differences(
                written.get(key, _GONE), expected.get(key, _GONE), f"{place}.{key}" if place else key
            )
    elif isinstance(written, list) and isinstance(expected, list) and len(written) == len(expected):
        for at, pair in enumerate(zip(written, expected, strict=True)):
            yield from _differences(*pair, f"{place}[{at}]")
    elif _is_number(written) and _is_number(expected):
        if not math.isclose(written, expected, rel_tol=FIGURE_TOLERANCE, abs_tol=FIGURE_TOLERANCE):
            yield f"{place}: {written:.12g}, but the counts give {expected:.12g}"
    elif written != expected:
        yield f"{place}: {_short(written)}, but the counts give {_short(expected)}"


_GONE = object()


def _short(value: Any) -> str:
    text = "nothing" if value is _GONE else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "..."


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping | list):
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from _leaves(each)
    elif _is_number(value):
        yield value


def require_holding(check: AuditCheck, path: Path) -> None:
    """Raise FairtriggerError, naming the first difference, unless every figure follows from the counts."""
    if check.differences:
        more = f" (and {len(check.differences) - 1} more)" if len(check.differences) > 1 else ""
        raise FairtriggerError(f"{path} does not hold: {check.differences[0]}{more}.")
