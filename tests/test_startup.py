"""Programs import what they need: those that only print no torch, a service no compiler."""

from __future__ import annotations

import subprocess
import sys
from resource import RUSAGE_CHILDREN, getrusage

import pytest

from triggers.store.file_store import FileStore

pytestmark = pytest.mark.process
BOUND_SECONDS = 1.5
"""Of processor time beyond bare Python's: help takes a fifth of it, importing torch alone more than all of it."""


def started(*words: str) -> tuple[str, set[str], float]:
    """What Python prints when started so, the modules that it imports, and the processor time that it takes."""
    before = getrusage(RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-X", "importtime", *words], capture_output=True, text=True, check=True)
    after = getrusage(RUSAGE_CHILDREN)
    modules = {line.split("|")[-1].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    return done.stdout, modules, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        (("fairtrigger", "--help"), "activate"),
        (("trainer", "--help"), "RUN.TOML"),
        (("trainer", "--example"), "[objective]"),
        (("service", "--help"), "--http-workers"),
    ],
)
def test_help_imports_no_torch(words: tuple[str, ...], printed: str) -> None:
    out, modules, seconds = started("-m", *words)
    assert printed in out
    assert "typing" in modules and "torch" not in modules
    assert words[0] == "trainer" or "numpy" not in modules
    assert seconds < started("-c", "pass")[2] + BOUND_SECONDS


def test_listing_a_store_imports_no_torch(filled_store: FileStore) -> None:
    out, modules, seconds = started("-m", "fairtrigger", "--store", filled_store.url, "list")
    assert "faces" in out
    assert "sqlite3" in modules and "torch" not in modules
    assert seconds < started("-c", "pass")[2] + BOUND_SECONDS


DECODING = """
import io, service.app
from PIL import Image
from triggers.preprocessing.jpeg import decode_plain
out = io.BytesIO()
Image.new("RGB", (8, 4)).save(out, "JPEG")
print(tuple(decode_plain(out.getvalue()).shape))
"""


def test_decoding_imports_no_compiler() -> None:
    out, modules, _ = started("-c", DECODING)
    assert out == "(3, 4, 8)\n"
    assert "torch" in modules and not modules & {"torchvision", "torch._dynamo"}


WITHOUT = """
import importlib, sys
for name in "captum datasets fsspec jinja2 matplotlib mlflow plotly redis s3fs tensorboard".split():
    sys.modules[name] = None  # as if it were not installed
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


def test_programs_start_without_the_optional_extras() -> None:
    programs = ("trainer.train", "trainer.overview", "service.app", "service.workers.engine_server")
    command = [sys.executable, "-c", WITHOUT, *programs, "service.workers.http_worker", "fairtrigger.cli.main"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
