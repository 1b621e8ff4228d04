"""Triggers in an MLflow model registry: a registered model per frozen model, a version per trigger, two aliases.

The artifact's file is the version's artifact, unchanged. Tags say what it is: digest, standing, the store's version,
the key that signed it. `champion` and `challenger` are aliases.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triggers.artifact.artifact import MAX_ARTIFACT_BYTES, load_artifact, read_limited
from triggers.errors import ArtifactCorrupt, NotFound
from triggers.rollout.rollout_history import Rollout, VersionInfo, version_name
from triggers.storage import without_password
from triggers.storage.mlflow_client import connect_mlflow, make_experiment, mlflow_errors

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

CHAMPION, CHALLENGER = "champion", "challenger"
_FILE, _FOLDER = "trigger.safetensors", "trigger"
EXPERIMENT = "fairtrigger-registry"
"""Experiment of the runs that hold the files of pushed versions."""
DIGEST_TAG = "fairtrigger.digest"


class MlflowRegistry:
    """The registry at an MLflow address; `name` is the registered model's, where it is not the model's own."""

    def __init__(self, uri: str, name: str | None = None) -> None:
        self.place = f"mlflow:{without_password(uri)}" + (f"#{name}" if name else "")
        self._uri, self._name = uri, name
        self._client: MlflowClient = connect_mlflow(uri)
        import mlflow.artifacts  # now, not when an alias has moved

        self._artifacts = mlflow.artifacts

    def push(self, info: VersionInfo, rollout: Rollout, data: bytes) -> str:
        """Make a version of the registered model, which is made when it is missing; return its number."""
        name = self._name or info.model
        with mlflow_errors(self._uri):
            self._make_model(name, info.model)
            known = self._number_of(name, info.digest)
            return known or self._add(name, info, data)

    def pull(self, model: str, version: str) -> bytes:
        """The file of a version, by number or alias."""
        name, artifacts = self._name or model, self._artifacts
        number = re.fullmatch(r"v?([1-9][0-9]*)", version)
        with mlflow_errors(self._uri):
            found = number[1] if number else self.aliases(model).get(version)
            if found is None:
                raise NotFound(f"{self.place}: {name!r} has no alias {version!r}.")
            uri = self._client.get_model_version_download_uri(name, found)
            listed = artifacts.list_artifacts(artifact_uri=uri, tracking_uri=self._client.tracking_uri)
            files = [one for one in listed if one.path.endswith(".safetensors")]
            if len(files) != 1:
                raise NotFound(f"{self.place}: version {found} of {name!r} holds {len(files)} trigger files, not one.")
            if (files[0].file_size or 0) > MAX_ARTIFACT_BYTES:
                raise ArtifactCorrupt(f"{self.place}: version {found} has {files[0].file_size} bytes; too many.")
            with tempfile.TemporaryDirectory() as folder:
                one = f"{uri.rstrip('/')}/{Path(files[0].path).name}"
                path = artifacts.download_artifacts(
                    artifact_uri=one, dst_path=folder, tracking_uri=self._client.tracking_uri
                )
                return read_limited(Path(path))

    def aliases(self, model: str) -> dict[str, str]:
        """Numbers by alias. Raises NotFound without such a registered model."""
        with mlflow_errors(self._uri):
            found: Mapping[str, Any] = self._client.get_registered_model(self._name or model).aliases
        return {alias: str(number) for alias, number in found.items()}

    def push_aliases(self, rollout: Rollout, digests: Mapping[int, str]) -> list[str]:
        """Set the aliases as a rollout has its versions, whose digests are given; return a line for each.

        A version that was never pushed is said, and the alias taken away rather than left on another.
        """
        name, plan, lines = self._name or rollout.model, rollout.plan, []
        challenger = plan.challenger.version if plan.challenger else None
        for alias, version in ((CHAMPION, plan.champion), (CHALLENGER, challenger)):
            with mlflow_errors(self._uri):
                number = version and self._number_of(name, digests[version])
                if number:
                    self._client.set_registered_model_alias(name, alias, number)
                    lines.append(f"{alias}: version {number} ({version_name(version)})")
                    continue
                with suppress(NotFound), mlflow_errors(self._uri):
                    self._client.delete_registered_model_alias(name, alias)
                why = f"; {version_name(version)} is not there, push it too" if version else ", as in the store"
                lines.append(f"{alias}: none{why}")
        return lines

    def _make_model(self, name: str, model: str) -> None:
        try:
            with mlflow_errors(self._uri):
                self._client.get_registered_model(name)
        except NotFound:
            about = f"Fairness triggers for the frozen classifier {model}."
            self._client.create_registered_model(name, tags={"fairtrigger.model": model}, description=about)

    def _number_of(self, name: str, digest: str) -> str | None:
        """The number of the version that was pushed with this digest."""
        quoted = name.replace("'", "''")
        found = self._client.search_model_versions(f"name='{quoted}' and tags.`{DIGEST_TAG}` = '{digest}'")
        return min((str(one.version) for one in found), key=int, default=None)

    def _add(self, name: str, info: VersionInfo, data: bytes) -> str:
        client, run_name = self._client, f"{name} {info.digest[:19]}"
        run = client.create_run(make_experiment(client, self._uri, EXPERIMENT), run_name=run_name)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / _FILE
            path.write_bytes(data)
            client.log_artifact(run.info.run_id, str(path), _FOLDER)
        client.set_terminated(run.info.run_id)
        made = client.create_model_version(
            name,
            source=f"{run.info.artifact_uri}/{_FOLDER}",
            run_id=run.info.run_id,
            tags=_tags(info, data),
            description=info.selection.sentence if info.selection else None,
            await_creation_for=0,
        )
        return str(made.version)


def _tags(info: VersionInfo, data: bytes) -> dict[str, str]:
    signature = load_artifact(data).signature
    tags = {
        "digest": info.digest,
        "store_version": version_name(info.version),
        "kind": info.kind,
        "strength": f"{info.objective.strength:g}",
        "status": info.selection.status if info.selection else "",
        "model_fingerprint": info.manifest.model_fingerprint,
        "signature_key": signature.key if signature else "",
    }
    return {f"fairtrigger.{name}": value for name, value in tags.items() if value}
