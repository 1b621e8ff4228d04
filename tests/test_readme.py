"""The README keeps its word: what it names exists. Its quickstart runs in tests/fairtrigger/demo/test_demo.py."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PACKAGES = ("fairtrigger", "service", "trainer", "triggers")
UNNAMED = ("service/config", "service/security", "service/telemetry")
"""Packages that the README's tree leaves to the architecture."""


def section(title: str) -> str:
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_every_package_in_the_tree_exists_and_none_is_missing() -> None:
    tree = re.search(r"```\n(.*?)```", section("The tree"), re.DOTALL)
    assert tree
    top, named = "", set()
    for line in tree[1].splitlines():
        if begins := re.match(r"(\w+)/ ", line):
            top = begins[1]
            assert (ROOT / top).is_dir(), line
        if line.startswith("  "):
            named |= {f"{top}/{name}" for name in re.findall(r"(\w+)/", line)}
    packages = {path.parent for top in PACKAGES for path in (ROOT / top).glob("*/__init__.py")}
    assert {ROOT / name for name in named} == packages - {ROOT / path for path in UNNAMED}


def test_the_readme_is_short() -> None:
    assert len(README.encode()) < 6500


@pytest.mark.parametrize(
    ("title", "most"), [("One prediction", 20), ("One late label", 15), ("One swap", 12), ("One training step", 10)]
)
def test_every_place_on_the_walks_exists_and_they_are_few(title: str, most: int) -> None:
    text = ARCHITECTURE.split(f"\n## {title}\n")[1].split("\n## ")[0]
    walk = next(part for part in text.split("\n\n") if ": `" in part)
    paths = re.findall(r"`((?:service|trainer|triggers)/[\w/]+\.py)`", walk)
    assert 8 <= len(paths) <= most
    for path in re.findall(r"`((?:service|trainer|triggers)/[\w/]+\.py)`", text):
        assert (ROOT / path).is_file(), path
    for path in re.findall(r"[a-z]+/[\w/]+\.py", text):
        assert list(ROOT.glob(path)) or [found for top in PACKAGES for found in (ROOT / top).glob(path)], path


def test_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)]+)\)", README):
        assert (ROOT / link).exists(), link


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/**/*.md")), ids=lambda page: page.name)
def test_every_test_that_a_document_names_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    files = {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    assert set(re.findall(r"test_\w+\.py", text)) <= files
    for path in re.findall(r"`((?:service|trainer|triggers|tests|benchmarks|examples|deploy)/[\w/.-]+\.py)", text):
        assert (ROOT / path).is_file(), path
