"""What a server process and all its descendants use, read from /proc (Linux)."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def tree(root: int) -> list[int]:
    """The process and its living descendants."""
    children = defaultdict(list)
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and (fields := _stat(int(folder.name))):
            children[int(fields[1])].append(int(folder.name))
    found = [root]
    for pid in found:  # grows while it is walked
        found += children[pid]
    return found


def cpu_seconds(root: int) -> float:
    """User and system time of the tree so far, children that ended and were waited for included."""
    return sum(sum(map(int, fields[11:15])) for pid in tree(root) if (fields := _stat(pid))) / TICKS


def memory_mb(root: int) -> float:
    """Resident memory of the tree in MB; pages that processes share are counted once (PSS)."""
    return sum(_pss_kb(pid) for pid in tree(root)) / 1e3


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat after the name: state, parent, ..."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # it ended
        return None


def _pss_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
