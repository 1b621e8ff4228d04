"""A bundle may declare a precision: it is loaded, counted and served in it, and says how far it is from its source."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from fairtrigger.cli.main import app
from service.config import Settings
from service.engine.execution import build_forward
from tests.model_folders import bert_folder, resnet_folder
from tests.service.live import running, settings
from tests.text_families import DECODERS, family_bundle
from trainer.evaluation.counts import evaluation_classifier
from triggers.errors import ModelError
from triggers.model import BundleSpec, load_bundle, scores, sweep
from triggers.model.bundle import SPEC_FILE, Precision, read_spec
from triggers.model.networks.frozen_linear import FrozenLinear
from triggers.sources import WrapOptions, read_source, write_source_bundle
from triggers.sources.source_comparison import PRECISION_TOLERANCE
from triggers.store.file_store import FileStore

NARROW: tuple[Precision, ...] = ("bf16", "int8", "int4")


def wrapped(source: Path, folder: Path, precision: Precision) -> BundleSpec:
    options = WrapOptions(precision=precision, labels=("civil", "toxic"))
    return write_source_bundle(read_source(str(source), options), folder, options, accept_difference=True)


@pytest.mark.parametrize("precision", NARROW)
def test_what_is_counted_is_what_is_served(precision: Precision, tmp_path: Path) -> None:
    wide = wrapped(bert_folder(tmp_path / "source"), tmp_path / "wide", "float32")
    spec = wrapped(tmp_path / "source", tmp_path / "narrow", precision)
    assert (wide.precision, spec.precision) == ("float32", precision)
    assert wide.comparison and wide.comparison.largest_difference < 1e-4
    record = spec.comparison
    assert record and 1e-6 < record.largest_difference
    assert record.accepted == (
        record.largest_difference > PRECISION_TOLERANCE[precision]
    )  # 4 bits are few for a tiny network
    model = load_bundle(tmp_path / "narrow")
    assert model.dtype == model.compute_dtype == torch.bfloat16
    assert model.fingerprint != load_bundle(tmp_path / "wide").fingerprint
    assert any(isinstance(module, FrozenLinear) for module in model.network.modules()) == (precision != "bf16")
    items = [model.preprocess(text) for text in ("the man is good", "a very bad woman")]
    bank = model.bank([model.null_trigger()])
    with torch.inference_mode():
        counted = scores(sweep(evaluation_classifier(model), model.batch(items), bank))[0]
    served = build_forward(model, Settings(device="cpu")).bind([model.null_trigger()])(items, [0, 0])
    assert torch.equal(counted, served)
    model.verify()


def test_the_model_card_says_it(tmp_path: Path) -> None:
    wrapped(bert_folder(tmp_path / "source"), tmp_path / "narrow", "int8")
    model = load_bundle(tmp_path / "narrow")
    with FileStore(tmp_path / "store") as store, running(settings(tmp_path), store, [model]) as client:
        assert client.get(f"/v1/models/{model.name}").json()["precision"] == "int8"


def test_an_image_model_may_be_in_bf16(tmp_path: Path) -> None:
    spec = wrapped(resnet_folder(tmp_path / "source"), tmp_path / "narrow", "bf16")
    assert spec.comparison and spec.comparison.largest_difference > 1e-6
    assert load_bundle(tmp_path / "narrow").dtype == torch.bfloat16


def test_the_command_takes_it_and_bundles_without_say_what_they_said(tmp_path: Path) -> None:
    bert_folder(tmp_path / "source")
    for precision in ("float32", "bf16"):
        command = ["wrap", str(tmp_path / "source"), "--precision", precision, "--out", str(tmp_path / precision)]
        assert CliRunner().invoke(app, [*command, "--labels", "civil,toxic"]).exit_code == 0
    assert read_spec(tmp_path / "bf16").precision == "bf16"
    assert read_spec(tmp_path / "float32").fingerprint_fields() == {}
    assert read_spec(tmp_path / "bf16").fingerprint_fields() == {"precision": "bf16"}


def test_a_contradiction_is_refused(tmp_path: Path) -> None:
    folder = family_bundle(tmp_path, DECODERS["llama"])
    said = json.loads((folder / SPEC_FILE).read_text())
    for loader, reason in (
        ({"kind": "transformers", "dtype": "float32"}, "needs loader.dtype bfloat16, not float32"),
        ({"kind": "torchvision", "builder": "resnet18"}, "is for a transformers loader"),
    ):
        (folder / SPEC_FILE).write_text(json.dumps(said | {"loader": loader, "precision": "bf16"}))
        with pytest.raises(ModelError, match=reason):
            read_spec(folder)
