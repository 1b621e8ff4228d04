"""A scoring that was killed goes on: nothing twice, nothing left out; anything changed meanwhile is refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fairtrigger.scoring import score
from fairtrigger.scoring.score_parts import ScoreParts
from service.ledger import Ledger
from tests.artifacts import artifact_for
from tests.bundles import text_bundle
from tests.fairtrigger.scoring import texts
from tests.fairtrigger.scoring.conftest import Desk
from tests.service.live import wait_until
from trainer.progress import LineProgress
from triggers.artifact.artifact import save_artifact
from triggers.errors import ConfigError, DataError

ROWS = 60


class Stopped(Exception):
    """Stands for the end of the process."""


class StoppingProgress(LineProgress):
    """Ends the job once so many rows are done; `done` are those from before."""

    def __init__(self, after: int) -> None:
        super().__init__(sys.stderr, every=3600)
        self._after = after

    def task(self, title: str, total: int, done: int = 0) -> Any:
        outer, opened = self, super().task(title, total, done)
        self.done = done

        class Watched:
            def __enter__(self) -> Any:
                self._task, self._seen = opened.__enter__(), 0
                return self

            def __exit__(self, *error: Any) -> None:
                opened.__exit__(None, None, None)

            def advance(self, parts: int = 1, **metrics: float) -> None:
                self._seen += parts
                if self._seen > outer._after:
                    raise Stopped

        return Watched()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return texts.csv_file(tmp_path / "in.csv", texts.rows(ROWS))


def begun(desk: Desk, source: Path, out: Path, **options: Any) -> dict[str, Any]:
    """Score a part of the rows, batch by batch, and return the options for going on."""
    given: dict[str, Any] = {
        "trigger": ["none", "v1"],
        "store": desk.store,
        "batch_size": 1,
        "checkpoint_seconds": 0,
    } | options
    with pytest.raises(Stopped):
        score(desk.posts, source, out, progress=StoppingProgress(30), **given)
    assert not out.exists()
    return given


@pytest.mark.parametrize("name", ["out.parquet", "out.csv"])
def test_the_same_call_goes_on_where_it_ended(desk: Desk, source: Path, tmp_path: Path, name: str) -> None:
    given = begun(desk, source, tmp_path / name)
    (tmp_path / f"{name}.parts" / ".writing-x").write_bytes(b"cut sho")
    result = score(desk.posts, source, tmp_path / name, **given)
    assert (result.resumed, result.rows, result.scored) == (24, ROWS, ROWS)
    score(desk.posts, source, tmp_path / f"whole-{name}", **given)
    assert texts.scored(tmp_path / name) == texts.scored(tmp_path / f"whole-{name}")
    again = score(desk.posts, source, tmp_path / name, **given)
    assert (again.resumed, again.scored) == (ROWS, ROWS)


def rewrite_first(source: Path) -> None:
    source.write_text(source.read_text().replace("\nc0,", "\nc0,good "))


def other_trigger(given: dict[str, Any]) -> None:
    given["trigger"] = ["none", "v2"]


CHANGES: dict[str, tuple[Callable[[Path, dict[str, Any]], object], str]] = {
    "input": (lambda source, given: rewrite_first(source), "the first 24 rows of its input were other ones"),
    "trigger": (lambda source, given: other_trigger(given), "its versions was .* v2|its versions was .*v1"),
    "options": (lambda source, given: given.update(group=["sex"]), "its groups was {} and is"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_refused_until_the_job_begins_anew(desk: Desk, source: Path, tmp_path: Path, change: str) -> None:
    out = tmp_path / "out.csv"
    given = begun(desk, source, out)
    make, said = CHANGES[change]
    make(source, given)
    with pytest.raises(ConfigError, match=said) as refused:
        score(desk.posts, source, out, **given)
    assert "name another --out, or begin anew with --overwrite" in str(refused.value)
    assert score(desk.posts, source, out, overwrite=True, **given).resumed == 0
    assert len(texts.scored(out)) == 2 * ROWS


def test_another_model_is_refused(desk: Desk, source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    given = begun(desk, source, out, trigger=["none"])
    with pytest.raises(ConfigError, match=r'its model was \{"digest": "sha256:'):
        score(text_bundle(tmp_path / "other", seed=1), source, out, **given)


def test_a_finished_file_of_another_input_is_not_overwritten(desk: Desk, source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    score(desk.posts, source, out)
    before = out.read_bytes()
    rewrite_first(source)
    with pytest.raises(ConfigError, match="scored otherwise, its digest was"):
        score(desk.posts, source, out)
    assert out.read_bytes() == before
    (tmp_path / "mine.csv").write_text("a,b\n")
    with pytest.raises(ConfigError, match="is there and is no score file"):
        score(desk.posts, source, tmp_path / "mine.csv")


def test_two_processes_do_not_write_one_file(desk: Desk, source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    with ScoreParts(out, ".csv", {}), pytest.raises(ConfigError, match="Another process is writing"):
        score(desk.posts, source, out)


def test_two_files_of_one_name_are_refused(desk: Desk, source: Path, tmp_path: Path) -> None:
    for seed, folder in enumerate(("a", "b")):
        (tmp_path / folder).mkdir()
        save_artifact(artifact_for(desk.text, "hard", seed), tmp_path / folder / "mine.safetensors")
    words = [str(tmp_path / folder / "mine.safetensors") for folder in ("a", "b")]
    with pytest.raises(ConfigError, match="Two triggers are named 'mine'"):
        score(desk.posts, source, tmp_path / "out.csv", trigger=words)
    score(desk.posts, source, tmp_path / "out.csv", trigger=[words[0], "none"])
    assert [each["version"] for each in texts.scored(tmp_path / "out.csv")[:2]] == ["none", "mine"]


@pytest.mark.process
def test_kills_cost_nothing_twice_and_nothing_left_out(desk: Desk, tmp_path: Path) -> None:
    count = 800
    source = texts.csv_file(tmp_path / "in.csv", texts.rows(count))
    out, ledger = tmp_path / "out.parquet", tmp_path / "ledger.sqlite"
    words = ["--store", desk.store, "score", desk.posts, source, "--trigger", "none,v1", "--group", "sex"]
    words += ["--out", out, "--batch-size", 2, "--checkpoint-seconds", 0, "--count-into", ledger]
    command = [sys.executable, "-m", "fairtrigger", *map(str, words)]
    parts = tmp_path / "out.parquet.parts"

    def run_until(condition: Callable[[], object]) -> None:
        with subprocess.Popen(command, stderr=subprocess.PIPE, env=os.environ | {"OMP_NUM_THREADS": "1"}) as process:
            wait_until(lambda: condition() or process.poll() is not None, 60, every=0.002)
            process.send_signal(signal.SIGKILL)

    def parts_done() -> int:
        return len(list(parts.glob("part-*.parquet")))

    run_until(lambda: parts_done() >= 8)
    assert parts_done() >= 8 and not out.exists()
    run_until(lambda: ledger.exists() and ledger.stat().st_size > 0)
    subprocess.run(command, check=True, capture_output=True)
    found = texts.scored(out)
    assert [(each["row"], each["version"]) for each in found] == [
        (row, version) for row in range(1, count + 1) for version in ("none", "v1")
    ]
    with Ledger(ledger) as opened:
        counted = opened.counts("posts", 0, 2**31)
    for version, name in ((None, "none"), (1, "v1")):
        toxic = sum(n for cell, n in counted.items() if cell.version == version and cell.prediction == 1)
        assert toxic == sum(each["version"] == name and each["label"] == "toxic" for each in found)
    assert sum(counted.values()) == 2 * count


def test_rows_left_out_before_are_not_forgotten(desk: Desk, tmp_path: Path) -> None:
    made = texts.rows(ROWS)
    made[3]["text"] = ""
    source, out = texts.csv_file(tmp_path / "in.csv", made), tmp_path / "out.csv"
    given = begun(desk, source, out, bad_rows="skip")
    with pytest.raises(DataError, match="1 rows were left out before: go on with --bad-rows skip"):
        score(desk.posts, source, out, **given | {"bad_rows": "stop"})
    assert score(desk.posts, source, out, **given).bad == 1
