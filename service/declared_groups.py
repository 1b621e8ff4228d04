"""Which group names of a model are counted under their own name, so that no caller can invent groups.

Names are declared by the manifests of the model's triggers, by `groups` in its bundle, or by the settings. A person may
also belong to a combination that nobody declared: of declared attributes (`sex=female,age=old`), or of identities where
they overlap (`black + female`). Such a name is possible, and has to be counted, but takes one of few places.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from triggers.attributes import attributes_of, sorted_name
from triggers.errors import NotFound, StoreError
from triggers.identities import NO_GROUP, UNDECLARED, UNKNOWN, cell_of, identities_of
from triggers.manifest import Manifest
from triggers.store import Store

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DeclaredGroups:
    """Declared names, and those of them that are identities, of which one person may have several."""

    names: frozenset[str] = frozenset()
    identities: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.names)

    def with_names(self, names: Iterable[str]) -> DeclaredGroups:
        """These and more."""
        return DeclaredGroups(self.names.union(map(sorted_name, names)), self.identities)

    def with_manifest(self, manifest: Manifest) -> DeclaredGroups:
        """These, the groups that a trigger was made for, and every combination of them among its rows."""
        if not manifest.groups_overlap:
            return self.with_names(manifest.groups)
        identities = self.identities.union(manifest.groups)
        cells = {row.group for row in manifest.data_counts} | {row.group for row in manifest.evaluation}
        return DeclaredGroups(self.names | identities | {NO_GROUP, *map(_cell, cells)}, identities)

    def spelled(self, name: str) -> str | None:
        """How a name is written if it was declared, or is a combination of what was; None if it is neither."""
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
    """The declared groups of one model, read from the store as versions are published; on any thread.

    `named` are those of the bundle and the settings.
    """

    def __init__(self, model: str, store: Store, named: Sequence[str] = ()) -> None:
        self._model, self._store = model, store
        self._read, self._reading = 0, threading.Lock()
        self.groups = DeclaredGroups().with_names(named)

    def refresh(self) -> DeclaredGroups:
        """Read the manifests of the versions that are new. While the store does not answer, what was known stays."""
        try:
            with self._reading:
                self._read_new()
        except NotFound:
            pass
        except StoreError as error:
            logger.warning("model %s: the groups of new versions are not known yet: %s", self._model, error)
        return self.groups

    def _read_new(self) -> None:
        """Versions are numbered from 1 and never change. Ends with NotFound."""
        if not self._read:
            self._add(info.manifest for info in self._store.versions(self._model))
        while True:
            self._add([self._store.version(self._model, self._read + 1).manifest])

    def _add(self, manifests: Iterable[Manifest]) -> None:
        for manifest in manifests:
            self.groups = self.groups.with_manifest(manifest)
            self._read += 1


def _cell(name: str) -> str:
    """A combination of identities in one spelling."""
    return name if name in (UNKNOWN, UNDECLARED) else cell_of(sorted(identities_of(name)))
