"""The serving benchmark: what it reads from wrk and /proc, what its tables say, and a small run of our own service."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from benchmarks.load import Load, checked, parse
from benchmarks.process_tree import cpu_seconds, memory_mb, tree
from benchmarks.serve import Effort, rounds
from benchmarks.serve_tables import PLAIN, WAYS, Sample, best_peer, lines, peers_table, triggers_table
from benchmarks.servers import OURS


def sample(server: str, rate: float, what: str = PLAIN, connections: int = 16) -> Sample:
    return Sample("tiny", server, what, connections, rate, 1.0, 2.0, 0.2, 0.1, 300)


def text(table: Table) -> list[str]:
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(table)
    return console.export_text().splitlines()


def test_the_line_that_the_wrk_script_prints() -> None:
    output = "Running 1s test\n  Requests/sec: 9\n" + (
        'result {"requests": 10, "seconds": 2.0, "p50": 0.001, "p99": 0.005, "refused": 0, "broken": 0}\n'
    )
    assert parse(output) == Load(10, 2.0, 0.001, 0.005)
    assert parse(output).rate == 5


@pytest.mark.parametrize("found", [Load(0, 1, 0, 0), Load(9, 1, 0, 0, refused=1), Load(9, 1, 0, 0, broken=1)])
def test_a_failing_server_gives_no_figures(found: Load) -> None:
    with pytest.raises(RuntimeError, match="no figures"):
        checked(found, "http://x")


def test_a_process_tree_counts_its_children() -> None:
    spin = "import time\nend = time.monotonic() + 20\nwhile time.monotonic() < end: pass"
    code = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {spin!r}]).wait()"
    with subprocess.Popen([sys.executable, "-c", code], start_new_session=True) as parent:
        try:
            end = time.monotonic() + 15
            while cpu_seconds(parent.pid) < 0.3 and time.monotonic() < end:
                time.sleep(0.05)
            assert len(tree(parent.pid)) == 2
            assert cpu_seconds(parent.pid) >= 0.3
            assert memory_mb(parent.pid) > 5
        finally:
            os.killpg(parent.pid, 9)


def test_medians_spread_and_ratios() -> None:
    samples = [sample("A", rate) for rate in (100, 300, 200)] + [sample("B", 250), sample(OURS, 1000)]
    assert lines(samples)["tiny", 16, PLAIN, "A"].spread("rate") == "200 (100 to 300)"
    assert best_peer(samples, "tiny", 16) == 250 and best_peer(samples, "tiny", 64) is None
    ours = next(line for line in text(peers_table(samples)) if OURS in line)
    assert "1000 (1000 to 1000)" in ours and "4.00" in ours


def test_ways_to_use_triggers_beside_each_other() -> None:
    rates = {"bare": 1000.0, PLAIN: 990.0, "16 triggers mixed": 980.0, "twin on all": 600.0}
    printed = text(triggers_table([sample(OURS, rate, WAYS + what, 64) for what, rate in rates.items()]))
    mixed = next(line for line in printed if "mixed" in line)
    assert "0.98" in mixed and "0.99" in mixed
    assert any("twin" in line and "0.61" in line for line in printed)


@pytest.mark.slow
@pytest.mark.parametrize("module", ["serve", "ledger"])
def test_a_benchmark_that_needs_wrk_says_so_before_anything_else(tmp_path: Path, module: str) -> None:
    about = {"serve": ["--quick"], "ledger": ["--model", str(tmp_path / "none"), "--body", str(tmp_path / "none")]}
    command = [sys.executable, "-m", f"benchmarks.{module}", *about[module]]
    ran = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PATH": str(tmp_path)})
    assert ran.returncode == 1 and ran.stdout == ""
    assert ran.stderr == "The load comes from wrk, which is not installed (Debian: apt-get install wrk).\n"


@pytest.mark.skipif(not shutil.which("wrk"), reason="needs wrk")
def test_our_service_is_measured(tmp_path: Path) -> None:
    samples = list(rounds("tiny", (), Effort(("tiny",), rounds=1, seconds=1, warm_up=1, idle=0.2), tmp_path, 1))
    assert [each.connections for each in samples] == [16, 64, 64, 64, 64, 64, *[16, 64] * 3]
    assert len({each.server for each in samples}) == 4, "every way to run"
    assert all(each.rate > 20 and each.cpu_ms > 0 and each.memory_mb > 50 for each in samples)
