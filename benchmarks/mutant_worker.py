"""Runs tests against one text of one module after the other, in a copy of the tree; `benchmarks.mutants` starts it.

Standard input has an order per line, standard output its answer: pytest's exit status and seconds. What is slow to
import is imported once; each order is a fork of this process, ended with all that it started.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import fastapi  # noqa: F401
import httpx  # noqa: F401
import pytest
import torch  # noqa: F401
import torchvision  # noqa: F401
import transformers  # noqa: F401

TIMED_OUT = -1
PR_SET_CHILD_SUBREAPER = 36


def main() -> None:
    """Follow orders until standard input ends."""
    sys.dont_write_bytecode = True
    for line in sys.stdin:
        order = json.loads(line)
        started = time.monotonic()
        status = tested(Path(order["path"]), order["source"], order["arguments"], order["seconds"])
        sys.stdout.write(json.dumps({"status": status, "seconds": time.monotonic() - started}) + "\n")
        sys.stdout.flush()


def tested(path: Path, source: str, arguments: Sequence[str], seconds: float) -> int:
    """pytest's exit status with `source` as the text of `path`, TIMED_OUT after `seconds`; the file is put back."""
    original = path.read_text()
    path.write_text(source)
    try:
        return _forked(arguments, seconds)
    finally:
        path.write_text(original)


def _forked(arguments: Sequence[str], seconds: float) -> int:
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    child = os.fork()
    if not child:
        _run(arguments)
    end, status = time.monotonic() + seconds, None
    while status is None and time.monotonic() < end:
        ended, code = os.waitpid(child, os.WNOHANG)
        status = os.waitstatus_to_exitcode(code) if ended else None
        time.sleep(0.02)
    _end_children()
    return TIMED_OUT if status is None else status


def _end_children() -> None:
    """End what is left of the fork and of all that it started: an orphan becomes a child of this process."""
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    while pids := children.read_text().split():
        for pid in map(int, pids):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _run(arguments: Sequence[str]) -> NoReturn:
    """In the fork: a session of its own, nothing printed, no way back."""
    os.setsid()
    log = os.open("mutant.log", os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(0)
    os.open(os.devnull, os.O_RDONLY)
    status = 3
    try:  # pytest warns of plugins that were imported before it
        status = int(pytest.main(["-W", "ignore::pytest.PytestAssertRewriteWarning", *arguments]))
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
