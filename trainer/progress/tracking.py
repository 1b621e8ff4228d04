"""Tracking of a run: opens the trackers that [track] names, and knows a run again that was killed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from trainer.config import RunConfig, to_dict
from trainer.config.toml_schema import to_toml
from trainer.progress.figure_journal import FigureJournal
from trainer.progress.mlflow_run import MlflowRun
from trainer.progress.progress import Progress
from trainer.progress.run_tracker import Ending, RunTracker, Tracker
from trainer.progress.tensorboard_log import TensorboardLog
from triggers.errors import ConfigError, StoreError
from triggers.fingerprint import json_digest
from triggers.storage import without_password, write_atomically
from triggers.storage.mlflow_client import mlflow_folder

STATE = "tracking.json"
"""File in the output folder: which run the trackers know it as."""
JOURNAL = "tracking.jsonl"
"""File beside it: the run's figures."""


@contextmanager
def open_tracking(config: RunConfig, out: Path, progress: Progress, *, fresh: bool) -> Iterator[None]:
    """Give the progress its tracker while the block runs, if [track] asks for one.

    A run that was killed goes on as the run that the trackers know, unless `fresh` or its configuration changed. Raises
    ConfigError where a tracker does not answer now; whatever fails later is a note.
    """
    track = config.track
    if not (track.mlflow or track.tensorboard):
        yield
        return
    trackers, known = _opened(config, out, progress, fresh=fresh)
    journal = FigureJournal(out / JOURNAL, progress.note, keep=known)
    progress.tracker = tracker = RunTracker(trackers, progress.note, journal)
    ending: Ending = "KILLED"
    try:
        yield
        ending = "FINISHED"
    except Exception:
        ending = "FAILED"
        raise
    finally:
        progress.tracker = None
        tracker.close(ending)


def _opened(config: RunConfig, out: Path, progress: Progress, *, fresh: bool) -> tuple[list[Tracker], bool]:
    """The trackers, and whether the run is one that they know."""
    table, track = to_dict(config), config.track
    identity = json_digest({name: each for name, each in table.items() if name not in ("publish", "report")})
    known = {} if fresh else _read(out / STATE)
    known = known if known.get("identity") == identity else {}
    name, toml = track.name or out.resolve().name, to_toml(table)
    trackers: list[Tracker] = []
    state: dict[str, Any] = {"identity": identity}
    if track.tensorboard:
        folder = _tensorboard_folder(track.tensorboard / name, known.get("tensorboard"))
        trackers.append(TensorboardLog(folder, toml))
        state["tensorboard"] = str(folder)
    if track.mlflow:
        uri = _mlflow_address(track.mlflow, config.root)
        before = known.get("mlflow", {})
        run_id = before.get("run_id") if before.get("uri") == without_password(uri) else None
        experiment = track.experiment or config.model.bundle.name
        try:
            run = MlflowRun.start(uri, experiment, name, _flat(table), toml, run_id)
        except StoreError as error:
            raise ConfigError(f"track.mlflow: {error} Start it, or leave it out: --set track.mlflow=''") from error
        trackers.append(run)
        state["mlflow"] = {"uri": without_password(uri), "run_id": run.run_id}
        progress.note(f"{run.place}: experiment {experiment!r}, run {run.run_id}.")
    write_atomically(out / STATE, json.dumps(state, indent=2).encode() + b"\n")
    return trackers, bool(known)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _mlflow_address(address: str, root: Path) -> str:
    """The address; a folder starts from the configuration file's."""
    folder = mlflow_folder(address)
    return str(root / folder.expanduser()) if folder else address


def _tensorboard_folder(wanted: Path, known: str | None) -> Path:
    """The folder of a run that goes on; of a new one, the first name that no other has."""
    if known and Path(known).parent == wanted.parent:
        return Path(known)
    names = (wanted if n == 1 else wanted.with_name(f"{wanted.name}-{n}") for n in count(1))
    return next(each for each in names if not each.exists() or not any(each.iterdir()))


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in table.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found
