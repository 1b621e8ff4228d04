"""The README keeps its word: its quickstart runs as written, and every file and function that it names exists."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_quickstart_runs_as_written() -> None:
    commands = re.search(r"```bash quickstart\n(.*?)```", README, re.DOTALL)
    assert commands
    lines = commands[1].strip().splitlines()
    assert len(lines) <= 10
    script = "set -euo pipefail\n" + commands[1].replace("kill %1; wait", "kill %1; wait || true")
    done = subprocess.run(["bash", "-c", script], cwd=ROOT, env=_fresh(), capture_output=True, text=True, timeout=550)
    assert done.returncode == 0, done.stdout + done.stderr
    for word in ("demographic_parity_difference", '"prediction_id"', '"versions"', "digits", "comments"):
        assert word in done.stdout, f"{word} is missing in:\n{done.stdout}"


def _fresh() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("FAIRTRIGGER_")}


def test_every_file_in_the_tree_exists() -> None:
    tree = re.search(r"```\n(.*?)```", section("The tree"), re.DOTALL)
    assert tree
    folder, seen = ROOT, 0
    for line in tree[1].splitlines():
        if top := re.match(r"(\w+)/ ", line):
            folder = ROOT / top[1]
            assert folder.is_dir(), line
        for name in re.findall(r"[\w/]+\.py\b", line):
            assert (folder / name).is_file(), f"{name} in: {line}"
            seen += 1
    assert seen > 30


@pytest.mark.parametrize("title", ["Follow one request", "Follow one training step"])
def test_every_place_on_the_walks_exists(title: str) -> None:
    text = section(title)
    paths = re.findall(r"`(\w+(?:/\w+)+\.py)(?::([\w.]+))?`", text)
    assert len(paths) >= 8
    for path, name in paths:
        assert (ROOT / path).is_file(), path
        if name:
            _look_up(path, name)
    named = re.findall(r"`(\w+\.\w+)` in `(\w+(?:/\w+)+\.py)`", text)
    assert named
    for name, path in named:
        _look_up(path, name)


def _look_up(path: str, name: str) -> None:
    found: object = importlib.import_module(path.removesuffix(".py").replace("/", "."))
    for part in name.split("."):
        found = getattr(found, part)


def test_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)]+)\)", README):
        assert (ROOT / link).exists(), link
