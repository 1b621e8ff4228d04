"""Outcomes to artifacts and versions: complete papers, stable digests, only what was asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from tests.trainer.outcomes import GROUPS, counts, image_config, image_outcome, text_config, text_outcome
from trainer.config.run_config import PublishConfig, RunConfig
from trainer.evaluation.run_result import TrainingResult
from trainer.publish import Published, code_version, make_artifacts, publish, save_artifacts, store_url
from triggers.artifact.artifact import check_compatible, load_artifact, to_bytes
from triggers.artifact.manifest import Manifest, ObjectiveName
from triggers.errors import ArtifactError, ConfigError, DataError
from triggers.model.classifier import FrozenClassifier
from triggers.store.store import open_store


def published(config: RunConfig, classifier: FrozenClassifier, outcome: TrainingResult) -> list[Published]:
    return publish(config, outcome, make_artifacts(config, classifier, GROUPS, outcome))


def test_an_artifact_carries_everything_about_its_run(tmp_path: Path, image_model: FrozenClassifier) -> None:
    config, outcome = image_config(tmp_path), image_outcome()
    artifact = make_artifacts(config, image_model, GROUPS, outcome)[2]
    manifest = artifact.manifest
    assert load_artifact(to_bytes(artifact)).manifest == manifest
    check_compatible(artifact, image_model)
    assert (manifest.model, manifest.kind, manifest.geometry["epsilon"]) == ("faces", "overlay", 0.125)
    assert manifest.groups == GROUPS
    assert (manifest.objective.name, manifest.objective.strength, manifest.steps) == ("adversarial", 5.0, 20)
    assert manifest.counts("test", trigger=False) == {cell: n for cell, n in counts(41).items() if n}
    assert manifest.counts("val", trigger=True) == {cell: n for cell, n in counts(10).items() if n}
    assert sum(row.count for row in manifest.data_counts if row.split == "tuning") == 200
    assert manifest.provenance.created_by == "tester"
    assert manifest.provenance.code_version == code_version()
    assert manifest.provenance.config["trigger"] == {**_trigger_keys(), "kind": "overlay", "epsilon": 0.125}
    assert str(tmp_path) not in to_bytes(artifact).decode(errors="replace")


@pytest.mark.parametrize("name", get_args(ObjectiveName))
def test_triggers_of_every_objective_have_papers(
    tmp_path: Path, image_model: FrozenClassifier, name: ObjectiveName
) -> None:
    config = image_config(tmp_path)
    config = replace(config, objective=replace(config.objective, name=name))
    assert {one.objective.name for one in _manifests(config, image_model)} == {name}


def _manifests(config: RunConfig, classifier: FrozenClassifier) -> list[Manifest]:
    return [one.manifest for one in make_artifacts(config, classifier, GROUPS, image_outcome())]


def _trigger_keys() -> dict[str, object]:
    return {"corner": "top_left", "tokens": 5, "position": "after_cls", "allowed_words": "whole"}


def test_the_words_of_a_hard_trigger_are_in_its_papers(tmp_path: Path, text_model: FrozenClassifier) -> None:
    outcome = text_outcome(text_model)
    (artifact,) = make_artifacts(text_config(tmp_path), text_model, GROUPS, outcome)
    check_compatible(artifact, text_model)
    assert artifact.manifest.words is not None and len(artifact.manifest.words) == 3
    assert artifact.manifest.geometry == {"tokens": 3, "dim": 32, "position": "after_cls"}


def test_digests_depend_on_the_training_alone(tmp_path: Path, image_model: FrozenClassifier) -> None:
    config, outcome = image_config(tmp_path), image_outcome()
    later = replace(outcome, seconds=99.0, device="another")
    first, again = (make_artifacts(config, image_model, GROUPS, run) for run in (outcome, later))
    assert [one.digest for one in first] == [one.digest for one in again]
    assert len({one.digest for one in first}) == 3
    elsewhere = replace(outcome, bare={"val": counts(39), "test": counts(41)})
    assert make_artifacts(config, image_model, GROUPS, elsewhere)[0].digest != first[0].digest


@pytest.mark.parametrize(
    ("wanted", "best", "strengths"),
    [("best", 1, [1.0]), ("best", None, []), ("front", 2, [0.0, 1.0, 5.0]), ("front", 1, [0.0, 1.0]), ("all", None, 3)],
)
def test_only_what_was_asked_for_is_published(
    tmp_path: Path, image_model: FrozenClassifier, wanted: str, best: int | None, strengths: list[float] | int
) -> None:
    places = published(image_config(tmp_path, publish=wanted), image_model, image_outcome(best))
    found = [place.strength for place in places]
    assert found == strengths or len(found) == strengths
    assert [place.version for place in places] == list(range(1, len(places) + 1))
    if places:
        with open_store(tmp_path / "fairtrigger-store") as store:
            assert [info.digest for info in store.versions("faces")] == [place.digest for place in places]
            assert store.rollout("faces").champion is None
    else:
        assert not (tmp_path / "fairtrigger-store").exists()


def test_the_history_says_who_and_why(tmp_path: Path, image_model: FrozenClassifier) -> None:
    published(image_config(tmp_path, publish="front"), image_model, image_outcome())
    with open_store(tmp_path / "fairtrigger-store") as store:
        entries = store.history("faces")
    assert [(entry.actor, entry.reason) for entry in reversed(entries)] == [
        ("tester", "strength 0"),
        ("tester", "strength 1, best on validation"),
    ]


def test_publishing_again_adds_no_version(tmp_path: Path, image_model: FrozenClassifier) -> None:
    config = image_config(tmp_path, publish="all")
    first = published(config, image_model, image_outcome())
    assert published(config, image_model, image_outcome()) == first


def test_publishing_can_be_switched_off(tmp_path: Path, image_model: FrozenClassifier) -> None:
    config = replace(image_config(tmp_path), publish=PublishConfig(enabled=False))
    assert published(config, image_model, image_outcome()) == []
    assert list(tmp_path.iterdir()) == []


def test_stores_start_from_the_configuration_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = image_config(tmp_path)
    monkeypatch.delenv("FAIRTRIGGER_STORE", raising=False)
    assert store_url(config) == str(tmp_path / "fairtrigger-store")
    monkeypatch.setenv("FAIRTRIGGER_STORE", "redis://redis:6379/0")
    assert store_url(config) == "redis://redis:6379/0"
    assert store_url(replace(config, publish=PublishConfig("file:///srv/store"))) == "file:///srv/store"
    assert store_url(replace(config, publish=PublishConfig("/srv/store"))) == "/srv/store"


def test_an_unknown_store_is_a_config_error(tmp_path: Path, image_model: FrozenClassifier) -> None:
    config = replace(image_config(tmp_path), publish=PublishConfig("ftp://somewhere/store"))
    with pytest.raises(ConfigError, match="ftp://somewhere"):
        published(config, image_model, image_outcome())


def test_every_candidate_is_written_and_older_ones_go(tmp_path: Path, image_model: FrozenClassifier) -> None:
    config, outcome = image_config(tmp_path), image_outcome()
    artifacts = make_artifacts(config, image_model, GROUPS, outcome)
    folder = tmp_path / "triggers"
    folder.mkdir()
    (folder / "strength-100.safetensors").write_bytes(b"from an older run")
    paths = save_artifacts(folder, outcome, artifacts)
    assert sorted(folder.iterdir()) == sorted(paths)
    assert [path.name for path in paths] == [f"strength-{name}.safetensors" for name in ("0", "1", "5")]
    assert [load_artifact(path).digest for path in paths] == [artifact.digest for artifact in artifacts]


def test_a_trigger_beyond_its_stated_bounds_is_not_sealed(tmp_path: Path, image_model: FrozenClassifier) -> None:
    config = image_config(tmp_path)
    smaller = replace(config, trigger=replace(config.trigger, epsilon=0.001))
    with pytest.raises(ArtifactError, match=r"leaves the stated \[-0\.001, 0\.001\]"):
        make_artifacts(smaller, image_model, GROUPS, image_outcome())


def test_rows_without_a_label_are_refused(tmp_path: Path, image_model: FrozenClassifier) -> None:
    outcome = replace(image_outcome(), bare={"val": {("women", None, 1): 3}})
    with pytest.raises(DataError, match="evaluated without a label"):
        make_artifacts(image_config(tmp_path), image_model, GROUPS, outcome)
