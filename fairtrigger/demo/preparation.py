"""The demo's first half: fit and freeze the two models, train their triggers with the real trainer, publish them.

Each model has a process of its own, so two cores are busy. What is finished stays in the output folder; a second run
with the same seed, settings and code reuses it, and one that was interrupted goes on.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fairtrigger.demo.work import Work, run_all
from trainer.progress import Progress
from triggers.errors import DataError
from triggers.storage import write_atomically

_HERE = Path(__file__).parent
DEMO_MODELS = ("digits", "comments")
STORE, DATA = "store", "data"
STAMP, FINISHED = "demo.json", "finished.json"
STAMPED_CODE = (
    "fitting.py",
    "digits.py",
    "small_cnn.py",
    "digits.toml",
    "comments.py",
    "tiny_bert.py",
    "comments.toml",
)


@dataclass(frozen=True)
class Prepared:
    """One model ready to be served: its bundle, its published versions, and the one that validation recommends."""

    name: str
    folder: Path
    versions: tuple[str, ...]
    recommended: str

    @property
    def bundle(self) -> Path:
        """Folder of the frozen model."""
        return self.folder / "model"

    @property
    def manifest(self) -> Path:
        """The CSV manifest that the trainer read; its test part is what is replayed."""
        return self.folder / f"{self.name}.csv"


def prepare(out: Path, seed: int, progress: Progress, overrides: Sequence[str] = ()) -> list[Prepared]:
    """Both models, fitted, frozen and with published triggers; at once if `out` already holds them.

    `overrides` are the trainer's "key=value". Raises DataError, ConfigError, ModelError or StoreError.
    """
    _claim(out, _stamp(seed, overrides))
    missing = [name for name in DEMO_MODELS if not (out / name / FINISHED).exists()]
    if missing:
        progress.note(f"fitting models and learning triggers for {' and '.join(missing)}, each in a process of its own")
    else:
        progress.note(f"The models and triggers in {out} are reused: seed, settings and code are as they were.")
    run_all([Work(name, _build, (name, out, seed, tuple(overrides))) for name in missing], progress)
    return [_finished(out, name) for name in DEMO_MODELS]


def _build(progress: Progress, name: str, out: Path, *arguments: Any) -> None:
    """Fit, train and publish in this process, and at the end write the file FINISHED that says what there is."""
    from fairtrigger.demo.fitting import fit_and_train  # torch: a run which reuses everything need not wait for it

    found = fit_and_train(progress, name, out, *arguments)
    write_atomically(out / name / FINISHED, json.dumps(found).encode())


def _finished(out: Path, name: str) -> Prepared:
    found = json.loads((out / name / FINISHED).read_bytes())
    return Prepared(name, out / name, tuple(found["versions"]), found["recommended"])


def _claim(out: Path, stamp: str) -> None:
    """Make `out` the folder of this run: what another seed, other settings or other code left there is removed."""
    mark = out / STAMP
    if mark.exists() and mark.read_text() == stamp:
        return
    if out.exists() and any(out.iterdir()) and not mark.exists():
        raise DataError(f"{out} holds files that are not the demo's; name an empty or new folder with --out.")
    for name in (*DEMO_MODELS, STORE, DATA):
        shutil.rmtree(out / name, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    mark.write_text(stamp)


def _stamp(seed: int, overrides: Sequence[str]) -> str:
    """What the models and triggers depend on: seed, settings, and the code that makes the data and the models."""
    parts = [str(seed), *overrides, *((_HERE / name).read_text(encoding="utf-8") for name in STAMPED_CODE)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
