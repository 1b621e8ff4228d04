"""The files that a deployment is made of, read."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
KUSTOMIZE = ROOT / "deploy" / "kustomize"
TARGETS = sorted(
    str(path.parent.relative_to(KUSTOMIZE))
    for path in KUSTOMIZE.rglob("kustomization.yaml")
    if "kind: Component" not in path.read_text()
)
"""Folders that can be applied on their own."""


@cache
def render(target: str) -> list[dict[str, Any]]:
    """What `kubectl apply -k` would send, to be read only. Skips, and in CI fails, where no kustomize is installed."""
    command = ["kustomize", "build"] if shutil.which("kustomize") else ["kubectl", "kustomize"]
    if not shutil.which(command[0]):
        missing("kubectl or kustomize")
    done = subprocess.run([*command, str(KUSTOMIZE / target)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.load_all(done.stdout, yaml.CSafeLoader) if document]


def missing(what: str) -> None:
    """Skip a test that needs it; in CI (CI=true) fail instead."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is not installed")
    pytest.skip(f"needs {what}")


def read(path: str) -> Any:
    """A YAML or JSON file of the project."""
    text = (ROOT / path).read_text()
    return json.loads(text) if path.endswith(".json") else yaml.safe_load(text)
