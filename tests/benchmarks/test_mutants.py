"""Mutation testing: which tests guard a module, how they are run, and the list of faults that change nothing."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from benchmarks.mutant_tests import Guards, mirror

ROOT = Path(__file__).parents[2]
TREE = {
    "kernel/__init__.py": "",
    "kernel/rates.py": "def half(n):\n    return n // 2\n",
    "kernel/report.py": "from kernel import rates\n",
    "tests/kernel/test_rates.py": "import kernel.rates\n\n\ndef test_half():\n    assert kernel.rates.half(3) == 1\n",
    "tests/kernel/test_beside.py": "",
    "tests/test_report.py": "from kernel.report import rates\n",
    "tests/test_long.py": "# longer\nfrom kernel.rates import half\n" + "#" * 80,
    "tests/test_short.py": "from kernel.rates import half\n",
    "tests/test_other.py": "",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for path, text in TREE.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


def test_a_module_is_guarded_by_its_mirror_then_by_those_that_import_it_then_by_those_that_import_these(
    tree: Path,
) -> None:
    near = ["tests/kernel/test_rates.py", "tests/test_short.py", "tests/test_long.py", "tests/kernel/test_beside.py"]
    assert Guards(tree, TREE).of("kernel/rates.py", 1) == near
    assert Guards(tree, TREE).of("kernel/rates.py", 2) == [*near, "tests/test_report.py"]
    assert Guards(tree, TREE).of("tests/test_other.py", 2) == []


def test_the_mirror_follows_the_folders() -> None:
    assert mirror("service/engine/batching/batcher.py") == "tests/service/engine/batching/test_batcher.py"


LEAVES_A_PROCESS = """
import subprocess
def half(n):
    left = subprocess.Popen(["sleep", "60"], start_new_session=True)
    with open("left", "w") as file:
        print(left.pid, file=file)
"""


@pytest.mark.slow
@pytest.mark.soak
def test_a_fault_is_noticed_what_a_test_leaves_is_ended_and_the_module_is_put_back(tree: Path) -> None:
    asked = f"""
import sys
from pathlib import Path
from benchmarks.mutant_worker import tested
rates, arguments = Path("kernel/rates.py"), ["-q", "-p", "no:cacheprovider", "tests/kernel/test_rates.py"]
sys.dont_write_bytecode = True
print(tested(rates, rates.read_text(), arguments, 90))
print(tested(rates, "def half(n): return n / 2", arguments, 90))
print(tested(rates, {LEAVES_A_PROCESS!r}, arguments, 90))
print(tested(rates, "import time; time.sleep(60)", arguments, 0.5))
"""
    command = [sys.executable, "-c", asked]
    environment = {"PYTHONPATH": f"{tree}:{ROOT}", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, timeout=250)
    assert done.stdout.split() == ["0", "1", "1", "-1"], done.stderr
    assert not Path("/proc", (tree / "left").read_text().strip()).exists()
    assert (tree / "kernel/rates.py").read_text() == TREE["kernel/rates.py"]


def test_every_fault_that_is_said_to_change_nothing_is_still_there_and_has_a_reason() -> None:
    code = "\n".join(
        path.read_text() for name in ("triggers", "trainer", "service") for path in (ROOT / name).rglob("*.py")
    )
    for entry in tomllib.loads((ROOT / "tests/mutants.toml").read_text()).get("equivalent", []):
        assert set(entry) == {"where", "before", "after", "reason"} and len(entry["reason"]) > 20
        assert entry["before"] in code, entry["before"]
