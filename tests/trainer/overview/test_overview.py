"""`python -m trainer run.toml --look`, on digits as a person has them: what is told, and that nothing is fitted."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from io import StringIO
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

import pytest
from typer.testing import CliRunner, Result

from tests.real_data import SHARED, need
from tests.shared_folder import shared_folder
from tests.trainer.datasets import comments, digits
from tests.trainer.sources import TEXTS
from trainer.__main__ import app
from trainer.config import load_config
from trainer.overview import Overview, make_overview
from trainer.overview.bare_sample import SAMPLE_CHUNK, sample_bare
from trainer.progress import LineProgress
from trainer.train import open_run
from triggers.metrics import evaluate_counts
from triggers.model import BundleSpec, FrozenClassifier
from triggers.model.bundle import save_bundle

PROCESSOR_SECONDS = 7.0
"""Bound for 10,000 faces, on a machine that others may load too."""

CONFIG = """
[model]
bundle = "bundle"
[data]
format = "csv"
path = "digits.csv"
label = "label"
group = "colour"
group_names = ["red", "blue"]
[trigger]
kind = "overlay"
[train]
device = "cpu"
"""

BASE = """
[base]
labels = ["low", "high"]
builder = "tests.trainer.datasets.digits:network"
size = 16
"""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of digits and their manifest."""
    folder = tmp_path_factory.mktemp("pictures")
    digits.write_csv(folder)
    return folder


@pytest.fixture
def folder(pictures: Path, digits_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a configuration, a manifest of the pictures and the bundle."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(pictures / "digits.csv", tmp_path)
    (tmp_path / "bundle").symlink_to(digits_bundle)
    (tmp_path / "run.toml").write_text(CONFIG.replace('"digits.csv"', f'"digits.csv"\nroot = "{pictures}"'))
    return tmp_path


def look(*arguments: str) -> Result:
    """The command inside this process, in the current folder."""
    called = ("run.toml", "--look", *arguments)
    return CliRunner(env={"COLUMNS": "100", "TERM": "dumb"}).invoke(app, called, catch_exceptions=False)


def overview(folder: Path, *overrides: str, seconds: float = 60.0) -> Overview:
    config = load_config(folder / "run.toml", overrides)
    return make_overview(config, folder / "cache", LineProgress(StringIO()), seconds)


def test_everything_is_told_before_a_training(folder: Path) -> None:
    done = look("--set", "objective.criterion=equalized_odds")
    assert done.exit_code == 0
    text = " ".join(done.stdout.split())
    for part in (
        "digits.csv, format csv: 1,047 images",
        "labels (label): low, high (selected)",
        "groups (colour): red, blue",
        "The bare model on",
        "images of 16 x 16 pixels",
        "balanced accuracy .",
        "average odds difference .",
        "(the criterion of this run)",
        "What a run of this size can show, with 80% probability",
        "on test, 347 rows, a gap whose interval excludes 0:",
        "on val, 350 rows, if a trigger changes 10% of the answers,",
        "that it loses at most .010 of balanced accuracy (certified, delta .10):",
        "Next: python -m trainer run.toml --set objective.criterion=equalized_odds",
    ):
        assert part in text
    assert "inverted" not in text
    assert {path.name for path in folder.iterdir()} - {"runs"} == {"run.toml", "digits.csv", "bundle"}
    assert {path.name for path in folder.glob("runs/*")} <= {"data-cache"}  # digests of files that are not brand new


def test_the_table_has_every_part_group_and_label(folder: Path) -> None:
    found = overview(folder)
    data = digits.parts()
    for part in ("tuning", "val", "test"):
        assert found.parts.counts[part] == data[part].counts()
    assert found.parts.size("base") == 0
    assert (found.source_rows, found.parts.groups) == (1047, ("red", "blue"))


def test_groups_beyond_the_largest_are_counted_below_the_table(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "smaller group" not in look().stdout
    monkeypatch.setattr("trainer.overview.console_overview.MOST_GROUPS", 1)
    assert "and 1 smaller group\n" in "\n".join(line.strip() for line in look().stdout.splitlines()) + "\n"


def test_the_bare_model_is_counted_on_validation_rows_alone(folder: Path) -> None:
    found = overview(folder)
    assert found.bare and found.report
    classifier, loader = open_run(found.config, folder / "cache", LineProgress(StringIO()))
    val = loader.load(classifier, "val")
    answers = classifier.decision.labels(classifier.image_logits(val.inputs.float() / 255))  # type: ignore[union-attr]
    rows = zip(val.groups.tolist(), val.labels.tolist(), answers.tolist(), strict=True)
    counts: dict[tuple[str, int | None, int], int] = {}
    for group, label, answer in rows:
        cell = (val.group_names[group], label, answer)
        counts[cell] = counts.get(cell, 0) + 1
    assert found.bare.counts == counts
    assert found.report.to_dict() == evaluate_counts(counts).to_dict()


def test_as_many_rows_as_the_time_allows(folder: Path) -> None:
    config = load_config(folder / "run.toml")
    classifier, loader = open_run(config, folder / "cache", LineProgress(StringIO()))
    ticks = iter(range(1000))
    some = sample_bare(classifier, loader, 3.0, clock=lambda: float(next(ticks)))
    assert (some.rows, some.of) == (3 * SAMPLE_CHUNK, 350)
    assert sample_bare(classifier, loader, 0.0).rows == SAMPLE_CHUNK


def test_texts_that_are_cut_are_told(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, comments_classifier: FrozenClassifier
) -> None:
    (tmp_path / "model").symlink_to(shared_folder(tmp_path_factory, "comments", comments.fit_bundle))
    lines = [f"the man sings {'and sings ' * (30 * (n % 2))}{n},{n % 2},{'ab'[n // 2 % 2]}" for n in range(300)]
    (tmp_path / "posts.csv").write_text("\n".join(["text,toxic,group", *lines]))
    (tmp_path / "run.toml").write_text(TEXTS.replace('group_words = ["woman", "girl*"]', 'group = "group"'))
    found = overview(tmp_path, "train.device=cpu", "split.val=200")
    assert found.bare and found.bare.rows == 200
    (told,) = [line for line in found.cautions if "longer than the model reads" in line]
    assert told == f"{found.parts.rows('val')[1, None]} of 200 texts are longer than the model reads and are cut."


def test_inverted_labels_are_called_out(folder: Path) -> None:
    table = (folder / "digits.csv").read_text()
    swapped = table.replace(",low,", ",?,").replace(",high,", ",low,").replace(",?,", ",high,")
    (folder / "digits.csv").write_text(swapped)
    assert overview(folder).cautions[0].startswith("The labels look inverted: ")
    done = look()
    assert done.exit_code == 0
    assert "caution: The labels look inverted: " in done.stdout
    assert "(see the cautions first)" in done.stdout


def test_without_a_bundle_nothing_is_fitted(folder: Path) -> None:
    (folder / "bundle").unlink()
    with (folder / "run.toml").open("a") as file:
        file.write(BASE)
    table = (folder / "digits.csv").read_text()
    (folder / "digits.csv").write_text(table.replace(",tuning", ",train"))
    done = look()
    assert done.exit_code == 0
    text = " ".join(done.stdout.split())
    assert "bundle is not there: it would be fitted first, on the 250 rows of base." in text
    assert "if the model's rates are near one half" in text and "The bare model on" not in text
    assert not (folder / "bundle").exists()


@pytest.mark.parametrize(
    ("overrides", "status", "message"),
    [
        (("--set", "select.delta=2"), 2, "select.delta is 2"),
        (("--set", "model.bundle=nowhere"), 2, "is no model bundle"),
        (("--set", "data.label=digit"), 1, "no column 'digit'"),
    ],
)
def test_errors_are_those_of_the_run(folder: Path, overrides: tuple[str, ...], status: int, message: str) -> None:
    done = look(*overrides)
    assert done.exit_code == status
    assert message in done.stderr


def test_inputs_that_cannot_be_used_are_told_not_raised(folder: Path, pictures: Path) -> None:
    val = digits.parts()["val"].ids[0]
    (folder / f"{val}.png").write_bytes(b"no picture")
    table = (folder / "digits.csv").read_text()
    (folder / "digits.csv").write_text(table.replace(f"{val}.png", str(folder / f"{val}.png")))
    found = overview(folder)
    assert found.bare and found.bare.rows == 349
    (told,) = [line for line in found.cautions if "cannot be used" in line]
    assert told.startswith("1 of 350 inputs cannot be used; the first:") and "(not_an_image)" in told


FACES = """
[model]
bundle = "faces"
[data]
format = "celeba"
path = "{path}"
label = "Attractive"
group = "Male"
[trigger]
kind = "overlay"
[train]
device = "cpu"
"""


@pytest.mark.slow
@pytest.mark.process
def test_ten_thousand_faces_take_seconds(tmp_path: Path) -> None:
    need("data/celeba10k.tar")
    (tmp_path / "run.toml").write_text(FACES.format(path=SHARED / "data/celeba10k.tar"))
    torchvision_bundle(tmp_path / "faces")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[3])}
    before = getrusage(RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "trainer", "run.toml", "--look"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    after = getrusage(RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert "format celeba: 10,000 images" in done.stdout and "of 1,500 validation rows" in done.stdout
    assert "images of 89 x 109 pixels" in done.stdout
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert seconds < PROCESSOR_SECONDS


def torchvision_bundle(folder: Path) -> None:
    """A bundle with the random weights of a network of torchvision."""
    from torchvision.models import get_model

    spec = {
        "name": "faces",
        "modality": "image",
        "labels": ["plain", "attractive"],
        "loader": {"kind": "torchvision", "builder": "resnet18", "kwargs": {"num_classes": 2}},
        "image": {"size": 64, "mean": [0.5] * 3, "std": [0.25] * 3},
    }
    save_bundle(folder, BundleSpec.model_validate(spec), get_model("resnet18", num_classes=2).state_dict())
