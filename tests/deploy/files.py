"""The files that a deployment is made of, read, and what they render to."""

from __future__ import annotations

import json
import shutil
import subprocess
from functools import cache
from typing import Any

import yaml

from tests.deploy.environment import ROOT, missing
from tests.deploy.helm import CASES, template

KUSTOMIZE = ROOT / "deploy" / "kustomize"
HELM = "helm/"
TARGETS = sorted(
    str(path.parent.relative_to(KUSTOMIZE))
    for path in KUSTOMIZE.rglob("kustomization.yaml")
    if "kind: Component" not in path.read_text()
) + [HELM + name for name in CASES]
"""Folders that can be applied on their own, and releases of the Helm chart."""


@cache
def render(target: str) -> list[dict[str, Any]]:
    """What would be sent, to be read only. Skips, and in CI fails, where no kustomize or Helm is installed."""
    if target.startswith(HELM):
        done = template(*CASES[target.removeprefix(HELM)])
    else:
        command = ["kustomize", "build"] if shutil.which("kustomize") else ["kubectl", "kustomize"]
        if not shutil.which(command[0]):
            missing("kubectl or kustomize")
        done = subprocess.run([*command, str(KUSTOMIZE / target)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.load_all(done.stdout, yaml.CSafeLoader) if document]


def read(path: str) -> Any:
    """A YAML or JSON file of the project."""
    text = (ROOT / path).read_text()
    return json.loads(text) if path.endswith(".json") else yaml.safe_load(text)
