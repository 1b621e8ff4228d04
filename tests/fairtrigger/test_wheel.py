"""The wheel: every file of the packages is in it, and its programs run without the checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.model_folders import resnet_folder

ROOT = Path(__file__).parents[2]
PACKAGES = ("fairtrigger", "service", "trainer", "triggers")
BUILD = "from setuptools import build_meta; build_meta.build_wheel('dist')"
pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree, built apart from it and unpacked as pip would."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    for name in PACKAGES:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([sys.executable, "-c", BUILD], cwd=folder, check=True, capture_output=True)
    (wheel,) = (folder / "dist").glob("fairtrigger-*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "site")
    return folder / "site"


def run(unpacked: Path, where: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Python with the wheel's packages before those of the checkout, in a folder that is not the checkout."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FAIRTRIGGER_")}
    environment |= {"PYTHONPATH": str(unpacked), "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, *words], cwd=where, env=environment, capture_output=True, text=True)


def test_every_file_of_the_packages_is_in_it(unpacked: Path) -> None:
    def files(root: Path) -> set[str]:
        found = {path.relative_to(root) for name in PACKAGES for path in (root / name).rglob("*") if path.is_file()}
        return {str(path) for path in found if "__pycache__" not in path.parts}

    assert len(files(ROOT)) > 500
    assert files(unpacked) == files(ROOT)


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        (("fairtrigger", "demo", "--help"), "--exit"),
        (("service", "--help"), "--http-workers"),
        (("trainer", "--example"), "[objective]"),
    ],
)
def test_its_programs_start_without_the_checkout(
    words: Sequence[str], printed: str, unpacked: Path, tmp_path: Path
) -> None:
    done = run(unpacked, tmp_path, "-m", *words)
    assert done.returncode == 0 and printed in done.stdout, done.stderr
    found = run(unpacked, tmp_path, "-c", f"import {words[0]}; print({words[0]}.__file__)")
    assert found.stdout.startswith(str(unpacked))


@pytest.mark.slow
def test_it_wraps_a_model(unpacked: Path, tmp_path: Path) -> None:
    resnet_folder(tmp_path / "source")
    done = run(unpacked, tmp_path, "-m", "fairtrigger", "wrap", "source", "--out", "faces")
    assert done.returncode == 0 and "0 labels differ" in done.stdout, done.stderr
    assert (tmp_path / "faces" / "model.json").is_file()


@pytest.mark.soak
def test_its_demo_runs_to_its_end(unpacked: Path, tmp_path: Path) -> None:
    done = run(unpacked, tmp_path, "-m", "fairtrigger", "demo", "--exit")
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"accuracy +\S", done.stdout)) == 2 and (tmp_path / "demo-out" / "triggers.png").is_file()


def test_the_service_without_its_extra_says_what_to_install(tmp_path: Path) -> None:
    script = "import runpy, sys; sys.modules['pydantic_settings'] = None; runpy.run_module('service', run_name='x')"
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "error: The service needs pydantic_settings: pip install 'fairtrigger[service]'.\n"
