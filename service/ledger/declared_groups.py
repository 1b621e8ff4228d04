"""The allow-list of a model's group names, so that no caller can invent groups.

Names are declared by the manifests of the model's triggers, by `groups` in its bundle, or by the settings. Combinations
of declared attributes (`sex=female,age=old`), or of identities where they overlap (`black + female`), are valid without
a declaration of their own, but count towards the ledger's `max_groups`.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from triggers.artifact.manifest import Manifest
from triggers.errors import NotFound, StoreError
from triggers.metrics.attributes import attributes_of, sorted_name
from triggers.metrics.overlapping_groups import NO_GROUP, UNDECLARED, UNKNOWN, cell_of, identities_of
from triggers.storage import write_atomically
from triggers.store import Store
from triggers.store.store import VersionInfo

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DeclaredGroups:
    """Declared group names and, among them, the identities, of which one person may have several."""

    names: frozenset[str] = frozenset()
    identities: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.names)

    def with_names(self, names: Iterable[str]) -> DeclaredGroups:
        """A copy with more names."""
        return DeclaredGroups(self.names.union(map(sorted_name, names)), self.identities)

    def with_manifest(self, manifest: Manifest) -> DeclaredGroups:
        """A copy with the groups of a trigger's manifest, and every combination of them among its rows."""
        if not manifest.groups_overlap:
            return self.with_names(manifest.groups)
        identities = self.identities.union(manifest.groups)
        cells = {row.group for row in manifest.data_counts} | {row.group for row in manifest.evaluation}
        return DeclaredGroups(self.names | identities | {NO_GROUP, *map(_cell, cells)}, identities)

    def spelled(self, name: str) -> str | None:
        """Canonical spelling of a declared name, or of a combination of declared ones; None for any other name."""
        if name in self.names:
            return name
        if (ordered := sorted_name(name)) in self.names:
            return ordered
        named, parts = attributes_of(name), identities_of(name)
        if named and self._attributes.issuperset(named.items()):
            return ordered
        return _cell(name) if parts and self.identities.issuperset(parts) else None

    @cached_property
    def _attributes(self) -> frozenset[tuple[str, str]]:
        return frozenset(pair for name in self.names for pair in attributes_of(name).items())


class Declarations:
    """The declared groups of one model, updated as versions are published. On any thread.

    `named` are the names from the bundle and the settings. `notes` is a folder in which what the manifests declare is
    kept from one start to the next, so that a start reads those of new versions only, however many there are.
    """

    def __init__(self, model: str, store: Store, named: Sequence[str] = (), notes: Path | None = None) -> None:
        self._model, self._store = model, store
        self._notes = notes and notes / f"groups-{model}.json"
        self._read, self._digest, self._reading = 0, "", threading.Lock()
        self._named, self._published = tuple(named), DeclaredGroups()

    @property
    def groups(self) -> DeclaredGroups:
        """All declared groups known so far."""
        return self._published.with_names(self._named)

    def refresh(self) -> DeclaredGroups:
        """Read the manifests of new versions; without an answer the known groups stay. Waits for the store."""
        with self._reading:
            before = self._read
            try:
                self._read_new()
            except NotFound:
                if before != self._read:
                    self._keep()
            except StoreError as error:
                logger.warning("model %s: the groups of new versions are not known yet: %s", self._model, error)
            return self.groups

    def _read_new(self) -> None:
        """Read versions, which are numbered from 1 and never change, until NotFound."""
        if not self._read:
            self._recall()
        if not self._read:
            self._add(self._store.versions(self._model))
        while True:
            self._add([self._store.version(self._model, self._read + 1)])

    def _add(self, versions: Iterable[VersionInfo]) -> None:
        for info in versions:
            self._published = self._published.with_manifest(info.manifest)
            self._read, self._digest = info.version, info.digest

    def _recall(self) -> None:
        """Take over what an earlier start noted, if its last version is still that of the store."""
        try:
            noted = json.loads(self._notes.read_text()) if self._notes else {}
            if noted and self._store.version(self._model, noted["version"]).digest == noted["digest"]:
                self._published = DeclaredGroups(frozenset(noted["names"]), frozenset(noted["identities"]))
                self._read, self._digest = noted["version"], noted["digest"]
        except (OSError, ValueError, TypeError, KeyError, NotFound):
            pass  # there is none, or it is of another store: all are read

    def _keep(self) -> None:
        if self._notes is None:
            return
        noted = {"version": self._read, "digest": self._digest}
        known = {"names": sorted(self._published.names), "identities": sorted(self._published.identities)}
        try:
            write_atomically(self._notes, json.dumps(noted | known).encode())
        except OSError as error:
            logger.warning("model %s: the next start reads all versions again: %s", self._model, error)


def _cell(name: str) -> str:
    """Canonical spelling of a combination of identities."""
    return name if name in (UNKNOWN, UNDECLARED) else cell_of(sorted(identities_of(name)))
