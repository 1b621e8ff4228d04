"""`python -m examples.celeba`: serve what was trained, replay real faces over HTTP; see README.md here."""

from __future__ import annotations

from pathlib import Path

from examples.real_run import program

if __name__ == "__main__":
    program(Path(__file__).with_name("run.toml"))()
