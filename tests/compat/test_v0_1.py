"""What version 0.1.0 wrote is used as it is: a bundle, a store, a ledger and a finished run, in the folder v0_1.

They were made by its programs: `python -m trainer run.toml --out out`, `fairtrigger activate posts v1`, a service that
answered 44 texts under both versions (`answers.json`), took 30 labels, changed the champion and rolled back.
"""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import pytest

from service.ledger.ledger import Ledger
from tests.service.counted import NEVER, counts_of_model
from tests.service.live import running, settings
from trainer.config.run_config import load_config
from trainer.progress import LineProgress
from trainer.train import train
from triggers.artifact.artifact import check_compatible
from triggers.errors import ConfigError
from triggers.model import FrozenClassifier, load_bundle
from triggers.store.store import Store, open_store

WRITTEN = Path(__file__).parent / "v0_1"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy that may be written."""
    copy = Path(shutil.copytree(WRITTEN, tmp_path / "v0_1"))
    (copy / "data" / "receipt.keys").chmod(0o600)  # as it was made; a checkout does not keep modes
    return copy


@pytest.fixture
def model(folder: Path) -> FrozenClassifier:
    return load_bundle(folder / "model")


def opened(folder: Path) -> Store:
    return open_store(str(folder / "store"), create=False)


def test_a_store_is_read_and_its_history_holds(folder: Path, model: FrozenClassifier) -> None:
    with opened(folder) as store:
        assert store.verify_history("posts") == 5
        assert [info.version for info in store.versions("posts")] == [1, 2]
        rollout = store.rollout("posts")
        assert (rollout.champion, rollout.revision) == (1, 3)
        for version in (1, 2):
            check_compatible(store.get("posts", version), model)


def test_a_ledger_is_read_cell_by_cell(folder: Path) -> None:
    data = folder / "data"
    ledger = Ledger(data / "ledger.sqlite", runs=data / "ledger.sqlite.runs", flush_interval=NEVER)
    try:
        assert counts_of_model(ledger, "posts") == {
            (1, "man", None, 1, 0): 5,
            (1, "man", 0, 1, 0): 8,
            (1, "man", 1, 1, 0): 7,
            (1, "woman", None, 0, 0): 5,
            (1, "woman", 0, 0, 0): 7,
            (1, "woman", 1, 0, 0): 8,
            (2, "man", None, 1, None): 2,
            (2, "woman", None, 0, None): 2,
        }
    finally:
        ledger.close()


def test_a_finished_run_is_selected_anew_only_when_asked(folder: Path) -> None:
    """Its checkpoint has not what selection needs now; its versions stay, a fresh run adds its own."""
    config, quiet = load_config(folder / "run.toml"), LineProgress(io.StringIO())
    with opened(folder) as store:
        before = [info.digest for info in store.versions("posts")]
    with pytest.raises(ConfigError, match=r"an earlier release .*; use another --out, or drop it with --fresh\.$"):
        train(config, folder / "out", quiet)
    with opened(folder) as store:
        assert [info.digest for info in store.versions("posts")] == before
    finished = train(config, folder / "out", quiet, fresh=True)
    assert {each.version for each in finished.published}.isdisjoint({1, 2})
    with opened(folder) as store:
        assert [info.digest for info in store.versions("posts")][:2] == before


def test_scores_are_what_they_were(folder: Path, model: FrozenClassifier) -> None:
    answers = json.loads((folder / "answers.json").read_text())
    with opened(folder) as store, running(settings(folder), store, [model]) as client:
        for version in ("v1", "v2"):
            body = {"inputs": [{"text": text} for text in answers["texts"]], "trigger": version}
            found = client.post("/v1/models/posts/predict", json=body).json()["predictions"]
            for now, then in zip(found, answers[version], strict=True):
                assert now["trigger"] == then["trigger"]
                assert now["scores"] == pytest.approx(then["scores"], abs=1e-5)
