"""A trigger belongs to one way from outputs to a label: another head, threshold or factory argument refuses it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fairtrigger.cli.output_tables import facts_table
from tests.artifacts import artifact_for, manifest_for, text_trigger
from tests.bundles import SIZE, image_bundle, multi_label_bundle, text_bundle
from triggers.artifact.artifact import check_compatible, load_artifact, to_bytes
from triggers.errors import ArtifactMismatch
from triggers.model import load_bundle
from triggers.model.bundle import BundleSpec, save_bundle


class AgeCut(nn.Module):
    """One brightness against a cut, as a network of one's own may be made for one question."""

    def __init__(self, cut: float, index: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.cut, self.index = cut, index

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1)."""
        return self.weight * images[:, self.index].mean(dim=(1, 2))[:, None] - self.cut


def factory_bundle(folder: Path, **kwargs: Any) -> Path:
    """`AgeCut` with these arguments."""
    spec = {
        "name": "ages",
        "modality": "image",
        "labels": ["old", "young"],
        "loader": {"kind": "factory", "target": f"{__name__}:AgeCut", "kwargs": kwargs},
        "image": {"size": SIZE, "mean": [0.0] * 3, "std": [1.0] * 3},
    }
    save_bundle(folder, BundleSpec.model_validate(spec), AgeCut(**kwargs).state_dict())
    return folder


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"threshold": 0.8}, "threshold 0.5, now 0.8"),
        ({"threshold": None}, "threshold 0.5, now unset"),
        ({"index": 2}, '"index": 0, .* now .*"index": 2'),
    ],
)
def test_another_threshold_or_label_of_one_network_is_refused_in_words(
    tmp_path: Path, change: dict[str, Any], named: str
) -> None:
    trained = load_bundle(multi_label_bundle(tmp_path / "trained", 0.5))
    other = load_bundle(multi_label_bundle(tmp_path / "other", **({"threshold": 0.5} | change)))
    artifact = load_artifact(to_bytes(artifact_for(trained, "soft")))
    check_compatible(artifact, trained)
    with pytest.raises(ArtifactMismatch, match=f"model fingerprint .* from outputs to a label is another: .*{named}"):
        check_compatible(artifact, other)


@pytest.mark.parametrize("change", [{"cut": 0.7}, {"index": 2}])
def test_a_changed_argument_of_a_factory_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"cut": 0.5, "index": 0}
    trained = load_bundle(factory_bundle(tmp_path / "trained", **arguments))
    other = load_bundle(factory_bundle(tmp_path / "other", **arguments | change))
    artifact = artifact_for(trained, "border")
    check_compatible(artifact, trained)
    with pytest.raises(ArtifactMismatch, match="model fingerprint"):
        check_compatible(artifact, other)


def test_bundles_of_format_1_keep_their_fingerprints(tmp_path: Path) -> None:
    """They name no format, and triggers that were published for them name a fingerprint without arguments."""
    folder = factory_bundle(tmp_path, cut=0.5, index=0)
    path = folder / "model.json"
    fields = {name: value for name, value in json.loads(path.read_text()).items() if name != "format"}
    now = load_bundle(folder).fingerprint
    path.write_text(json.dumps(fields))
    before = load_bundle(folder).fingerprint
    fields["loader"]["kwargs"] = {"cut": 0.7, "index": 0}
    path.write_text(json.dumps(fields))
    assert load_bundle(folder).fingerprint == before != now


def test_a_plain_model_says_nothing_of_its_head_in_a_manifest(tmp_path: Path) -> None:
    for number, make in enumerate((image_bundle, text_bundle)):
        assert load_bundle(make(tmp_path / str(number))).spec.fingerprint_fields() == {}
    assert "scoring" not in manifest_for(text_trigger()).content()


def test_the_facts_of_a_version_name_scores_and_decision(tmp_path: Path) -> None:
    artifact = artifact_for(load_bundle(multi_label_bundle(tmp_path, 0.8, index=4)), "hard")
    manifest = artifact.manifest.model_dump(mode="json")
    places = {"model": "posts", "version": 1, "champion": False, "digest": artifact.digest}
    card = {**places, "manifest": manifest, "created_at": "", "created_by": "", "bytes": 1}
    cells = [list(column.cells) for column in facts_table(card).columns]
    facts = dict(zip(*cells, strict=True))
    assert facts["[bold]scores[/]"] == "sigmoid of output 4 of 6, counted from 0"
    assert facts["[bold]decision[/]"] == "insult where its score is at least .8, else civil"
