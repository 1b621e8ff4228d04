"""Counting of a score file into a service's ledger: each row of it once, however often it is told."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from fairtrigger.scoring.score_file import read_scores
from fairtrigger.scoring.version_choice import BARE, ScoringVersion
from triggers.errors import ConfigError, StoreError
from triggers.metrics.attributes import sorted_name
from triggers.metrics.label_values import label_index
from triggers.model import FrozenClassifier
from triggers.store import Store

COUNTED_AT_ONCE = 1000
ROW_KEY_BYTES, MOST_OBSERVATIONS = 16, 5_000_000
"""Bytes of a row's key, and rows of one model that a ledger may know, each for 8 days; as in a service."""


def check_countable(versions: Sequence[ScoringVersion]) -> None:
    """Raise ConfigError for a version that a ledger has no number for."""
    for version in versions:
        if version.number is None and version.name != BARE:
            raise ConfigError(
                f"{version.name} is a file, and counts are kept by the numbers of a store's versions: publish it first "
                "(fairtrigger push), then score and count its version."
            )


def count_scores(out: Path, ledger: str, classifier: FrozenClassifier, store: Store | None) -> int:
    """Count the rows of a score file; returns how many were not counted before.

    A row is known by the digest of the input, its number, version and trigger: a ledger knows it for 8 days. Raises
    StoreError where it takes no more.
    """
    try:
        from service.ledger import Ledger
        from service.ledger.declared_groups import Declarations
    except ImportError as error:
        raise ConfigError('--count-into needs an extra: pip install "fairtrigger[service]".') from error
    where: Path | str = ledger if "://" in ledger else Path(ledger)
    fresh = 0
    with Ledger(where) as opened:
        if store:
            groups = Declarations(classifier.name, store, classifier.spec.groups or ()).refresh()
            opened.declare(classifier.name, groups or None)
        rows = _counted_rows(out, classifier.labels)
        while some := list(islice(rows, COUNTED_AT_ONCE)):
            told = opened.observe([_observation(opened, classifier.name, row) for row in some], MOST_OBSERVATIONS)
            if None in told:
                raise StoreError(
                    f"{ledger} knows {MOST_OBSERVATIONS} observations of the last 8 days, its most: go on later."
                )
            fresh += sum(each is not None and each.fresh for each in told)
    return fresh


def _counted_rows(out: Path, labels: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    """The rows of a score file as they are counted, each with the label of the bare model, where that is known."""
    record, batches = read_scores(out)
    digest, groups = record["input"]["digest"], record["groups"]
    bare: tuple[int, int | None] = (0, None)
    for columns in batches:
        rows = zip(
            columns["row"], columns["version"], columns["digest"], columns["label"], columns["truth"], strict=True
        )
        for at, (row, version, trigger, label, truth) in enumerate(rows):
            prediction = label_index(label, labels)
            if version == BARE:
                bare = (row, prediction)
            yield {
                "key": f"{digest}\0{row}\0{version}\0{trigger}".encode(),
                "version": None if version == BARE else int(version[1:]),
                "prediction": prediction,
                "bare": bare[1] if version != BARE and bare[0] == row else None,
                "group": _group({attribute: columns[name][at] for name, attribute in groups.items()}),
                "label": None if truth is None else label_index(truth, labels),
            }


def _group(values: Mapping[str, str | None]) -> str | None:
    """The group of a row by attribute; of several `age=old,sex=female`, None if one is missing."""
    if len(values) < 2:
        return next(iter(values.values()), None)
    return None if None in values.values() else sorted_name(",".join(f"{name}={values[name]}" for name in values))


def _observation(ledger: Any, model: str, row: Mapping[str, Any]) -> Any:
    from service.ledger import PredictionEvent
    from service.ledger.backend import Observation
    from service.ledger.events import NONCE_BYTES

    def known_as(use: bytes, size: int) -> bytes:
        return hashlib.blake2b(row["key"], key=b"fairtrigger score " + use, digest_size=size).digest()

    group = ledger.canonical_group(model, row["group"])
    minute, nonce = int(time.time() // 60), known_as(b"nonce", NONCE_BYTES)
    event = PredictionEvent(model, minute, row["version"], row["prediction"], group, row["bare"], nonce)
    return Observation(known_as(b"key", ROW_KEY_BYTES), "", event, row["label"])
