"""Triggers in the layout of a Hugging Face model repository, in a folder or on a hub.

    README.md                 the model card with its metadata, made from the files below
    triggers/v3.safetensors   the artifact as the store keeps it, its signature in it
    triggers/v3.json          its manifest, standing and fairness figures

Only safetensors files are read back, and they pass the store's gate like any other.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from fairtrigger.registries.repository_card import KEEP_MARK, repository_card
from triggers.artifact.artifact import MAX_ARTIFACT_BYTES, load_artifact, read_limited
from triggers.errors import ArtifactCorrupt, ConfigError, NotFound, StoreError, StoreUnavailable
from triggers.rollout.rollout_history import Rollout, VersionInfo, version_name
from triggers.storage import write_atomically
from triggers.store.version_card import card

CARD, TRIGGER_FOLDER = "README.md", "triggers"


class FolderRepository:
    """A repository as files in a folder, which any tool may copy, commit or upload."""

    def __init__(self, folder: Path) -> None:
        self.place, self._folder = f"hub-folder:{folder}", folder

    def push(self, info: VersionInfo, rollout: Rollout, data: bytes) -> str:
        """Write the version's files and the card. Raises StoreError where another trigger has its name."""
        known = {path.stem: path.read_bytes() for path in (self._folder / TRIGGER_FOLDER).glob("v*.json")}
        for name, content in repository_files(info, rollout, data, known, self._read(CARD)).items():
            path = self._folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, content)
        return version_name(info.version)

    def pull(self, model: str, version: str) -> bytes:
        """The file of a version, as v3 or 3."""
        return read_limited(self._folder / _artifact_path(version))

    def _read(self, name: str) -> bytes | None:
        path = self._folder / name
        return path.read_bytes() if path.exists() else None


class HubRepository:
    """A model repository of a hub, `owner/name` or `owner/name@revision`; made by the first push, private."""

    def __init__(self, repository: str, endpoint: str | None = None) -> None:
        from huggingface_hub import HfApi
        from huggingface_hub.utils.tqdm import disable_progress_bars

        disable_progress_bars()
        self._name, _, revision = repository.partition("@")
        self._revision, self.place = revision or None, f"hub:{repository}"
        self._api = HfApi(endpoint=endpoint, library_name="fairtrigger")

    def push(self, info: VersionInfo, rollout: Rollout, data: bytes) -> str:
        """Commit the version's files and the card, at once."""
        from huggingface_hub import CommitOperationAdd

        with self._errors():
            self._api.create_repo(self._name, private=True, exist_ok=True)
            listed = self._api.list_repo_files(self._name, revision=self._revision)
            known = {
                Path(name).stem: self._file(name) for name in listed if Path(name).match(f"{TRIGGER_FOLDER}/v*.json")
            }
            present = self._file(CARD) if CARD in listed else None
            files = repository_files(info, rollout, data, known, present)
            self._api.create_commit(
                self._name,
                [CommitOperationAdd(name, content) for name, content in files.items()],
                commit_message=f"{info.name}, {info.digest[:19]}",
                revision=self._revision,
            )
        return version_name(info.version)

    def pull(self, model: str, version: str) -> bytes:
        """The file of a version, as v3 or 3."""
        with self._errors():
            return self._file(_artifact_path(version))

    def _file(self, name: str) -> bytes:
        """A file's bytes; too large a one is refused before it is fetched."""
        found = self._api.get_paths_info(self._name, [name], revision=self._revision)
        if not found:
            raise NotFound(f"{self.place} has no {name}.")
        if getattr(found[0], "size", 0) > MAX_ARTIFACT_BYTES:
            raise ArtifactCorrupt(f"{self.place}: {name} has more than {MAX_ARTIFACT_BYTES} bytes.")
        with tempfile.TemporaryDirectory() as folder:
            path = self._api.hf_hub_download(self._name, name, revision=self._revision, local_dir=folder)
            return read_limited(Path(path))

    @contextmanager
    def _errors(self) -> Iterator[None]:
        from huggingface_hub import errors

        try:
            yield
        except errors.HFValidationError as error:
            raise ConfigError(f"{self.place}: {_one_line(error)}") from error
        except (errors.EntryNotFoundError, errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
            raise NotFound(f"{self.place}: {_one_line(error)}") from error
        except errors.HfHubHTTPError as error:
            passing = error.response is None or error.response.status_code >= 500
            raise (StoreUnavailable if passing else StoreError)(f"{self.place}: {_one_line(error)}") from error
        except errors.HfHubHTTPError.__bases__ as error:  # type: ignore[misc]  # of the HTTP library it uses, OSError
            raise StoreUnavailable(f"{self.place}: {_one_line(error)}") from error


def repository_files(
    info: VersionInfo, rollout: Rollout, data: bytes, known: Mapping[str, bytes], present: bytes | None
) -> dict[str, bytes]:
    """The files of a push by path: artifact, record and card. `known` are the records there, `present` the card.

    Raises StoreError if the name is another trigger's.
    """
    name = version_name(info.version)
    record = card(info, rollout) | {"signature_key": getattr(load_artifact(data).signature, "key", None)}
    records = {each: _record(content) for each, content in known.items()}
    digest = records.get(name, {}).get("digest", info.digest)
    if digest != info.digest:
        raise StoreError(f"Another trigger is {name} there ({digest}): push to a repository of this store's own.")
    files = {
        f"{TRIGGER_FOLDER}/{name}.safetensors": data,
        f"{TRIGGER_FOLDER}/{name}.json": json.dumps(record, indent=2, ensure_ascii=False).encode() + b"\n",
    }
    if present is None or KEEP_MARK.encode() in present:
        files[CARD] = repository_card({**records, name: record}).encode()
    return files


def _record(content: bytes) -> dict[str, Any]:
    with suppress(ValueError):
        found = json.loads(content)
        if isinstance(found, dict):
            return found
    raise StoreError("A record in triggers/ is no JSON object; restore it there, or remove it.")


def _artifact_path(version: str) -> str:
    number = version.removeprefix("v")
    if not (number.isascii() and number.isdigit()):
        raise ConfigError(f"{version!r} is no version of a repository; write v7 or 7.")
    return f"{TRIGGER_FOLDER}/v{int(number)}.safetensors"


def _one_line(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:300].rstrip(".") + "."
