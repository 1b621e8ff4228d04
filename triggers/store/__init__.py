"""Versioned stores of triggers, in a folder or in Redis."""

from triggers.store.store import Store, open_store

__all__ = ["Store", "open_store"]
