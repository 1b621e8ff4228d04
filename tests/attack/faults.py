"""Faults that come true inside the processes of a started service: what they import is changed as they start."""

from __future__ import annotations

from pathlib import Path


def injecting(folder: Path, process: str, fault: str) -> dict[str, str]:
    """The environment in which processes that run the module `process` execute the statements of `fault` first."""
    indented = "".join(f"    {line}\n" for line in fault.strip().splitlines())
    (folder / "sitecustomize.py").write_text(f"import sys\nif {process!r} in sys.orig_argv:\n{indented}")
    return {"PYTHONPATH": str(folder)}
