"""The demo as a whole, and its claim, measured by the service: on its own seed and, by `make soak`, on fresh ones.

The fresh seeds were not used to choose any setting of the demo.
"""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from itertools import takewhile
from pathlib import Path
from threading import Timer
from typing import Any

import httpx
import pytest
from PIL import Image
from rich.console import Console

from fairtrigger.demo.fairness_table import fairness_table
from fairtrigger.demo.live_service import ReplayClient, running_service
from fairtrigger.demo.next_steps import next_steps
from fairtrigger.demo.preparation import DATA, STORE, Prepared, prepare
from fairtrigger.demo.traffic import held_out, replay
from trainer.evaluation.recommendation import CHEAPER
from trainer.progress import LineProgress
from triggers.errors import DataError
from triggers.store.store import open_store

ROOT = Path(__file__).parents[3]
FRESH_SEEDS = (301, 302, 303, 304, 305)
LARGEST_LOSS = 0.03
CLEARLY = 0.05
"""By how much a trigger's gap lies below those of the controls: more than the chance of these counts."""

CONTROLS = (*CHEAPER, "threshold_matched")
Document = dict[str, Any]


def demo(*options: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a person does, without settings of this environment."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FAIRTRIGGER_")}
    command = [sys.executable, "-m", "fairtrigger", "demo", *options]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280)


@pytest.mark.soak
@pytest.mark.timeout(280)
@pytest.mark.parametrize("seed", FRESH_SEEDS)
def test_the_gap_is_at_least_halved_for_at_most_three_points_in_both_modalities(seed: int, tmp_path: Path) -> None:
    quiet = LineProgress(io.StringIO())
    models = prepare(tmp_path / "out", seed, quiet)
    with service(tmp_path / "out", models) as (url, token):
        for model in models:
            with ReplayClient(url, model.name, token) as client:
                replay(client, held_out(model.manifest), model.recommended, quiet)
                check_claim(tmp_path / "out", model, client)
        check_controls(tmp_path / "out", model.name)


def check_claim(out: Path, model: Prepared, client: ReplayClient) -> None:
    """The gap is at least halved for at most three points, on inputs that training and serving count alike."""
    versions = client.fairness()["versions"]
    bare, trigger = versions["bare"], versions[model.recommended]
    assert parity(trigger) <= parity(bare) / 2, f"{model.name}: {parity(bare)} -> {parity(trigger)}"
    assert accuracy(trigger) >= accuracy(bare) - LARGEST_LOSS, f"{accuracy(bare)} -> {accuracy(trigger)}"
    assert parity(bare) > 0.25  # there is something to halve
    assert trigger["labelled"] == trigger["n"] == len(held_out(model.manifest))
    assert counted(trigger) == trainers_counts(out, model)


def check_controls(out: Path, name: str) -> None:
    """On validation and on test, no threshold shift, constant or random trigger that costs at most LARGEST_LOSS of the
    balanced accuracy comes near the trigger's gap."""
    metrics = json.loads((out / name / "run" / "metrics.json").read_bytes())
    (best,) = (one["splits"] for one in metrics["candidates"] if one["strength"] == metrics["best"])
    controls = [(one["system"], one["splits"]) for one in metrics["comparisons"] if one["system"] in CONTROLS]
    assert {"threshold", "threshold_matched", "constant", "random"} <= {system for system, _ in controls}
    for split in ("val", "test"):
        floor, gap = balanced(metrics["bare"][split]) - LARGEST_LOSS, parity(best[split])
        assert balanced(best[split]) >= floor
        rivals = [(parity(one[split]), system) for system, one in controls if balanced(one[split]) >= floor]
        assert min(rivals)[0] > gap + CLEARLY, f"{name}, {split}: trigger {gap}, {min(rivals)}"


def balanced(report: Document) -> float:
    """Balanced accuracy of two labels."""
    overall = report["overall"]
    value: float = (1 + overall["true_positive_rate"]["value"] - overall["false_positive_rate"]["value"]) / 2
    return value


def service(out: Path, models: list[Prepared]) -> Any:
    return running_service([model.bundle for model in models], str(out / STORE), out / DATA, log=out / "service.log")


def parity(report: Document) -> float:
    value: float = report["gaps"]["demographic_parity_difference"]["value"]
    return value


def accuracy(report: Document) -> float:
    value: float = report["overall"]["accuracy"]["value"]
    return value


def counted(report: Document) -> Counter[tuple[str, int, int]]:
    return Counter({(row["group"], row["label"], row["prediction"]): row["n"] for row in report["counts"]})


def trainers_counts(out: Path, model: Prepared) -> Counter[tuple[str, int, int]]:
    """What the trainer counted on the same inputs: training and serving agree on every one of them."""
    with open_store(out / STORE, create=False) as store:
        manifest = store.get(model.name, int(model.recommended.removeprefix("v"))).manifest
    rows = [row for row in manifest.evaluation if row.split == "test" and row.trigger]
    return Counter({(row.group, row.label, row.prediction): row.count for row in rows})


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A demo that ran to its end by the first line of the README's quickstart, and what it printed."""
    out = tmp_path_factory.mktemp("demo") / "out"
    first, _, _ = quickstart().partition("\n")
    done = bash(first, DEMO_OUT=str(out))
    assert done.returncode == 0, done.stderr
    return out, done.stdout


def quickstart() -> str:
    """The commands of the README."""
    found = re.search(r"```bash quickstart\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert found and len(found[1].strip().splitlines()) <= 10
    return found[1].strip()


def bash(script: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run commands as a person does, without settings of this environment."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FAIRTRIGGER_")}
    command = ["bash", "-c", f"set -euo pipefail\n{script}"]
    return subprocess.run(command, cwd=ROOT, env=environment | variables, capture_output=True, text=True, timeout=280)


@pytest.mark.slow
def test_the_demo_runs_to_its_end(finished: tuple[Path, str]) -> None:
    out, printed = finished
    for word in ("digits", "comments", "accuracy", "demographic_parity_difference", "equalized_odds_difference"):
        assert word in printed
    for name in ("triggers.png", "before_after.png"):
        with Image.open(out / name) as picture:
            assert picture.width > 600
    with open_store(out / STORE, create=False) as store:
        assert {model: len(store.versions(model)) >= 2 for model in store.models()} == {
            "digits": True,
            "comments": True,
        }


@pytest.mark.slow
@pytest.mark.parametrize("name", ["digits", "comments"])
def test_no_threshold_no_constant_and_no_random_trigger_does_what_the_trigger_does(
    name: str, finished: tuple[Path, str]
) -> None:
    check_controls(finished[0], name)


@pytest.mark.slow
def test_a_second_run_trains_nothing_finds_the_claim_kept_and_its_commands_work(finished: tuple[Path, str]) -> None:
    out, _ = finished
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    said = io.StringIO()
    models = prepare(out, 0, LineProgress(said))
    assert "reused" in said.getvalue()
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")} == before
    with service(out, models) as (url, token):
        for model in models:
            with ReplayClient(url, model.name, token) as client:
                check_claim(out, model, client)
        with ReplayClient(url, "digits", token) as client:
            client.swap(None, "begin bare")
        script = "set -euo pipefail\n" + next_steps(out, url, token, models).split("\n\n", 1)[1]
        done = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count('"prediction_id"') == 2
        assert '"flipped"' in done.stdout
        other = next(version for version in models[0].versions if version != models[0].recommended)
        assert f'"champion":"{other}"' in done.stdout
        assert '"reason":"trying a weaker trigger"' in done.stdout
        assert httpx.get(f"{url}/v1/models/digits/triggers/{other}/preview.png").headers["content-type"] == "image/png"


def table_of_the_endpoint(url: str, model: str) -> list[str]:
    """The lines with figures of a table made from what the service says now."""
    with ReplayClient(url, model, token="") as client:
        document = client.fairness()
    text = io.StringIO()
    Console(file=text, width=80).print(fairness_table(document, tuple(document["versions"]), model))
    rows = [line for line in text.getvalue().splitlines() if "│" in line]
    assert len(document["versions"]) == 2 and len(rows) >= 6
    return rows


@pytest.mark.slow
def test_it_serves_until_ctrl_c_and_its_table_is_the_endpoints(finished: tuple[Path, str]) -> None:
    out, _ = finished
    command = [sys.executable, "-m", "fairtrigger", "demo", "--out", str(out)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as running:
        assert running.stdout
        stopper = Timer(120, running.terminate)  # so that a failure below cannot wait for ever
        stopper.start()
        lines = list(takewhile(lambda line: line != "The service runs until Ctrl-C.\n", running.stdout))
        url = next(line.split()[-1] for line in lines if line.startswith("API documentation")).removesuffix("/docs")
        for model in ("digits", "comments"):
            assert all(row in "".join(lines) for row in table_of_the_endpoint(url, model))
        os.kill(running.pid, signal.SIGINT)
        assert "Stopped." in running.stdout.read()
        stopper.cancel()
    assert running.returncode == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/healthz")


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("do not lose me")
    with pytest.raises(DataError, match="not the demo's"):
        prepare(tmp_path, 0, LineProgress(io.StringIO()))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.process
def test_help_teaches() -> None:
    done = demo("--help")
    assert done.returncode == 0
    assert "fairtrigger demo --exit" in done.stdout


@pytest.mark.slow
def test_the_quickstart_runs_as_written(finished: tuple[Path, str]) -> None:
    """But for the demo's folder, and the end of the service. Last, as it counts a prediction."""
    out, printed = finished
    first, _, others = quickstart().partition("\n")
    assert first.startswith("make demo EXIT=1")
    done = bash(others.replace("demo-out", str(out)).replace("kill %1; wait", "kill %1; wait || true"))
    assert done.returncode == 0, done.stdout + done.stderr
    for word in ("demographic_parity_difference", '"prediction_id"', '"versions"', "digits", "comments"):
        assert word in printed + done.stdout, f"{word} is missing in:\n{done.stdout}"
    for word in ('"prediction_id"', '"versions"'):
        assert word in done.stdout
