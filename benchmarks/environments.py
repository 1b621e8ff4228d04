"""Environments of the peers, made on request: each has its own packages and our versions of torch and Pillow."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

PEERS = {"litserve": "0.2.19", "mlserver": "1.7.1"}
SHARED = ("torch", "torchvision", "pillow", "safetensors", "uvloop", "httptools")
"""What the peers take from us, in our versions, so that only the server differs."""
OWN = {"mlserver": {"uvloop": "0.21.0"}}
"""Where a peer does not work with ours: MLServer's parallel workers end at once under a newer uvloop."""


def cache_folder() -> Path:
    """Where the environments lie: $XDG_CACHE_HOME/fairtrigger, or ~/.cache/fairtrigger."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fairtrigger" / "peers"


def python_of(peer: str) -> Path:
    """The interpreter of a peer's environment, made with uv if it is not there. Raises RuntimeError if it cannot be."""
    versions = {name: _public(version(name)) for name in SHARED} | OWN.get(peer, {}) | {peer: PEERS[peer]}
    pins = [f"{name}=={number}" for name, number in versions.items()]
    folder = cache_folder() / "-".join([peer, PEERS[peer], "torch", _public(version("torch"))])
    python, done = folder / "bin" / "python", folder / ".installed"
    if not done.exists():
        uv = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
        if uv is None:
            raise RuntimeError("The peers' environments are made with uv, which is missing: run `make install`.")
        _run(uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder))
        _run(uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(python), *pins)
        done.touch()
    return python


def _public(full: str) -> str:
    """2.15.0+cu132 to 2.15.0, which is what indexes know."""
    return full.partition("+")[0]


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
