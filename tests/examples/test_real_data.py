"""Both examples end to end on a few hundred rows of the real data, with the commands that their READMEs give."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from examples.real_run import held_out
from tests.real_data import need
from trainer.config.run_config import load_config
from trainer.progress import LineProgress
from triggers.store.store import open_store

ROOT = Path(__file__).resolve().parents[2]
ROWS = 60
ALONE = ("controls.enabled=false", "report.enabled=false")
"""What is compared and reported has tests of its own."""
SPLIT = ("split.base=160", f"split.tuning={ROWS}", f"split.val={ROWS}", f"split.test={ROWS}")
TRAIN = ("train.epochs=4", "train.batch_size=20", "train.eval_every=2", "train.threads=1", "select.publish=all", *ALONE)
FACES = (*SPLIT, *TRAIN, "base.size=32", "base.shift=2", "base.epochs=5", "base.batch_size=20", "train.lr=0.3")
BRIEF = ("data.limit=340", "base.max_tokens=24", "base.epochs=1", "train.precision=float32", "train.epochs=2")
POSTS = (*SPLIT, *TRAIN, *BRIEF, "base.batch_size=20", "base.lr=4e-4")
FEW = {"celeba": (*FACES, "objective.strengths=[1.0]"), "hatexplain": (*POSTS, "objective.strengths=[3.0]")}
NEEDED = {"celeba": ("data/celeba10k.tar",), "hatexplain": ("data/hatexplain.csv", "models/minilm")}

Cells = Counter[tuple[str, int, int]]


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.parametrize("name", ["celeba", "hatexplain"])
def test_train_publish_serve_and_replay_real_inputs(name: str, tmp_path: Path) -> None:
    need(*NEEDED[name])
    config, out = f"examples/{name}/run.toml", tmp_path / "run"
    settings = (f"model.bundle={out / 'model'}", f"publish.store={out / 'store'}", *FEW[name])
    command("trainer", config, f"--out={out}", *sets(settings))
    found = json.loads(command(f"examples.{name}", "--every", "--json", *sets(settings)))

    assert [(one["version"], one["requests"]) for one in found["passes"]] == [("bare", ROWS), ("v1", ROWS)]
    versions = found["fairness"]["versions"]
    bare, under = trainers_counts(out / "store", found["fairness"]["model"])
    assert counted(versions["bare"]) == bare
    assert counted(versions["v1"]) == under
    assert len({prediction for _, _, prediction in bare}) == 2  # else agreement would prove little
    assert under != bare

    rows = held_out(load_config(ROOT / config, settings), tmp_path / "data-cache", LineProgress(io.StringIO()))
    assert Counter((row.group, row.label) for row in rows) == by_group_and_label(found["fairness"], bare)
    for row in rows:
        if isinstance(row.content, bytes):
            assert Image.open(io.BytesIO(row.content)).format == "JPEG"
        else:
            assert row.content.strip()


@pytest.mark.process
def test_a_replay_before_the_training_says_what_to_do(tmp_path: Path) -> None:
    need(*NEEDED["celeba"])
    done = run("examples.celeba", *sets((f"model.bundle={tmp_path / 'model'}",)))
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert str(tmp_path / "model") in done.stderr
    assert "Traceback" not in done.stderr


def sets(settings: tuple[str, ...]) -> list[str]:
    return [f"--set={setting}" for setting in settings]


def run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FAIRTRIGGER_")}
    line = [sys.executable, "-m", module, *arguments]
    environment |= {"OMP_NUM_THREADS": "1"}
    return subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200)


def command(module: str, *arguments: str) -> str:
    done = run(module, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def counted(report: dict[str, Any]) -> Cells:
    """What the service counted of one version."""
    return Counter({(cell["group"], cell["label"], cell["prediction"]): cell["n"] for cell in report["counts"]})


def trainers_counts(store: Path, model: str) -> tuple[Cells, Cells]:
    """What the trainer counted on the same rows, without and with the trigger."""
    with open_store(store, create=False) as opened:
        cells = [cell for cell in opened.get(model, 1).manifest.evaluation if cell.split == "test"]
    bare, under = (
        Counter({(cell.group, cell.label, cell.prediction): cell.count for cell in cells if cell.trigger == wanted})
        for wanted in (False, True)
    )
    return bare, under


def by_group_and_label(document: dict[str, Any], cells: Cells) -> Counter[tuple[str, str]]:
    """The cells without their predictions, labels by name."""
    found = Counter[tuple[str, str]]()
    for (group, label, _), count in cells.items():
        found[group, document["labels"][label]] += count
    return found
