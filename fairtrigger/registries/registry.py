"""The interface of registries, and `open_registry`, which opens one by its address."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from triggers.errors import ConfigError
from triggers.rollout.rollout_history import Rollout, VersionInfo

ADDRESSES = "mlflow:URI, mlflow:URI#NAME, hub:OWNER/NAME or hub-folder:PATH"


class Registry(Protocol):
    """A place outside of the store that keeps artifacts' files as they are, signatures included.

    What it hands out is not checked: `push_artifact` does that on the way into a store. Any method may raise NotFound,
    StoreUnavailable or another StoreError.
    """

    place: str

    def push(self, info: VersionInfo, rollout: Rollout, data: bytes) -> str:
        """Keep a version's file; return its name there. The same digest again changes nothing."""
        ...

    def pull(self, model: str, version: str) -> bytes:
        """The file of a version, by the registry's own name for it; at most MAX_ARTIFACT_BYTES."""
        ...


def open_registry(address: str, endpoint: str | None = None) -> Registry:
    """Open a registry by its address; `endpoint` is the hub's, else HF_ENDPOINT. Raises ConfigError.

    mlflow:http://host:5000#faces     a server (or sqlite:///..., or a folder); after #: its name of the model
    hub:owner/name                    a model repository of a hub; a token is taken as `hf auth login` left it
    hub-folder:./faces-triggers       the same files in a folder
    """
    kind, _, rest = address.partition(":")
    if endpoint and kind != "hub":
        raise ConfigError(f"--endpoint is of a hub, and {address!r} is none.")
    if rest and kind == "mlflow":
        from fairtrigger.registries.mlflow_registry import MlflowRegistry

        uri, _, name = rest.partition("#")
        return MlflowRegistry(uri, name or None)
    if rest and kind in ("hub", "hub-folder"):
        from fairtrigger.registries.hub_repository import FolderRepository, HubRepository

        return HubRepository(rest, endpoint) if kind == "hub" else FolderRepository(Path(rest))
    raise ConfigError(f"Unknown registry {address!r}: write {ADDRESSES}.")
