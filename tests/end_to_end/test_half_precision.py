"""Checkpoints in half precision, from training to HTTP: what is counted and served is computed in float32."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import ResNetConfig, ResNetForImageClassification

from tests.artifacts import manifest_for
from tests.end_to_end.half_precision import HALVES, Half, narrow_bundle
from tests.service.live import picture, predict, running, settings
from tests.trainer.datasets import comments, digits
from tests.trainer.runs import OVERLAY, run_config
from trainer.config.run_config import ObjectiveConfig, TrainConfig, TriggerConfig
from trainer.progress import LineProgress
from trainer.training.trigger_training import train_triggers
from triggers.artifact.artifact import check_compatible, make_artifact
from triggers.artifact.manifest_checks import geometry_of
from triggers.model import BundleSpec, load_bundle
from triggers.model.bundle import save_bundle
from triggers.store.file_store import FileStore

pytestmark = pytest.mark.slow


def resnet_bundle(folder: Path) -> Path:
    torch.manual_seed(0)
    small: Any = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
    ResNetForImageClassification(ResNetConfig(**small)).save_pretrained(folder)
    image = {"size": digits.SIZE, "mean": [0.5] * 3, "std": [0.5] * 3}
    said = {"name": "digits", "modality": "image", "labels": digits.LABELS, "loader": {"kind": "transformers"}}
    save_bundle(folder, BundleSpec.model_validate(said | {"image": image}))
    return folder


def text_bundle(folder: Path) -> Path:
    return comments.fit_bundle(folder, epochs=1)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize(
    ("make", "trigger"),
    [
        (resnet_bundle, OVERLAY),
        (text_bundle, TriggerConfig("hard", tokens=2)),
        (text_bundle, TriggerConfig("embedding", tokens=2)),
    ],
)
def test_a_trigger_is_trained_and_served(make: Any, trigger: TriggerConfig, dtype: Half, tmp_path: Path) -> None:
    folder = narrow_bundle(make(tmp_path / "model"), dtype)
    model, wide = load_bundle(folder), load_bundle(narrow_bundle(folder, dtype, loader_dtype="float32"))
    assert model.dtype == getattr(torch, dtype) and wide.dtype == torch.float32
    image = model.spec.image is not None
    config = run_config(
        ObjectiveConfig("gap", strengths=(1.0, 5.0)), trigger=trigger, train=TrainConfig(steps=4, batch_size=16)
    )
    trained = train_triggers(config, model, (digits if image else comments).splits(), LineProgress(StringIO()))
    found = trained.candidates[0].trigger
    facts: dict[str, Any] = {"geometry": geometry_of(found) | trigger.geometry()} if image else {}
    facts |= {"model": model.name, "model_fingerprint": model.fingerprint, "labels": model.labels}
    facts |= {"preprocessing_fingerprint": model.preprocessing_fingerprint}
    artifact = make_artifact(found, manifest_for(found, **facts))
    check_compatible(artifact, model)
    inputs: list[bytes | str] = [picture(1), picture(2)] if image else ["the man is good", "a very bad woman sings"]
    answers = []
    with FileStore(tmp_path / "store") as store:
        store.publish(artifact, actor="test")
        for name, each in (("narrow", model), ("wide", wide)):
            with running(settings(tmp_path / name), store, [each]) as client:
                answers.append([one["scores"] for one in predict(client, model.name, inputs)])
                if each is model:
                    under = [one["scores"] for one in predict(client, model.name, inputs, trigger="v1")]
    assert answers[0] == [pytest.approx(row, abs=1e-6) for row in answers[1]]
    assert under != answers[0]
