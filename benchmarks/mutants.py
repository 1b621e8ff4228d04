"""Mutation testing: a seeded sample of small faults, and whether a test notices each: `make mutants COUNT=100 SEED=0`.

The faults are drawn from the modules with the most places for one (operators, numbers, conditions, loops, decorators).
Each meets the quick tests of its module's own test file, of those that import the module, then of those that import a
module which does, until one fails; then the long ones near the module, such as those of whole processes. A test has to
fail, or to hang, twice. They run in copies of the tree, on Linux. tests/mutants.toml lists the faults that change
nothing, each with the reason. Exit status 1: under 95 % of the others were noticed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from benchmarks.mutant_sample import Mutant, sample
from benchmarks.mutant_tests import Guards

VERDICTS = Path("tests/mutants.toml")
ENOUGH = 0.95
LONGEST, MOST_FILES = 180.0, 12
"""Seconds that a test file may take without a fault, else it is left out; files that a fault meets at most, twice."""
QUICK, LONG = "not (slow or process or redis or soak or gpu)", "(slow or process or redis) and not (soak or gpu)"
PASSED, TIMED_OUT = (0, 5), -1
"""Exit statuses: nothing failed, or pytest collected nothing; the worker ended it."""


class Worker:
    """A process that runs tests in its own copy of the tree."""

    def __init__(self, python: Path, folder: Path, files: Sequence[str]) -> None:
        self.tree = folder / "tree"
        for path in files:
            (self.tree / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, self.tree / path)
        (folder / "tmp").mkdir()
        places = {"PYTHONPATH": str(self.tree), "TMPDIR": str(folder / "tmp"), "OMP_NUM_THREADS": "1"}
        environment = os.environ | places | {"PYTHONDONTWRITEBYTECODE": "1"}
        command = [str(python), "-m", "benchmarks.mutant_worker"]
        pipe = subprocess.PIPE
        self._popen = subprocess.Popen(command, cwd=self.tree, env=environment, stdin=pipe, stdout=pipe, text=True)

    def run(self, path: str, source: str, arguments: Sequence[str], seconds: float) -> tuple[int, float]:
        """pytest's exit status (TIMED_OUT: none in time) with this text of the module, and seconds."""
        assert self._popen.stdin and self._popen.stdout
        order = {"path": path, "source": source, "arguments": arguments, "seconds": seconds}
        self._popen.stdin.write(json.dumps(order) + "\n")
        self._popen.stdin.flush()
        answer: dict[str, Any] = json.loads(self._popen.stdout.readline())
        return answer["status"], answer["seconds"]

    def close(self) -> None:
        """End it."""
        self._popen.communicate()


class Trial:
    """Runs the tests of mutants; what a test file takes without a fault is measured once, when one fails."""

    def __init__(self, workers: Sequence[Worker], guards: Guards) -> None:
        self._free: SimpleQueue[Worker] = SimpleQueue()
        for worker in workers:
            self._free.put(worker)
        self._guards = guards
        self._limits: dict[tuple[str, ...], float] = {}

    def caught(self, mutant: Mutant) -> bool:
        """Whether a test fails, or hangs, with the mutant, and does so again."""
        near = [(tests, LONG) for tests in self._guards.of(mutant.path, distance=1)[:MOST_FILES]]
        quick = [(tests, QUICK) for tests in self._guards.of(mutant.path, distance=2)[:MOST_FILES]]
        worker = self._free.get()
        try:
            return any(self._caught_by(worker, mutant, *each) for each in (*quick, *near))
        finally:
            self._free.put(worker)

    def _caught_by(self, worker: Worker, mutant: Mutant, tests: str, marked: str) -> bool:
        arguments = ("-x", "-q", "-p", "no:cacheprovider", "-m", marked, tests)
        limit = self._limits.get(arguments, LONGEST)
        if not limit or worker.run(mutant.path, mutant.source, arguments, limit)[0] in PASSED:
            return False
        limit = self._limit(worker, mutant.path, arguments)  # again, as a busy machine may fail one that waits
        status = worker.run(mutant.path, mutant.source, arguments, limit)[0] if limit else 0
        if status == TIMED_OUT:
            print(f"hangs, {tests}: {mutant}", flush=True)
        return status not in PASSED

    def _limit(self, worker: Worker, path: str, arguments: tuple[str, ...]) -> float:
        """Seconds to allow tests, from what they take without a fault, measured once; 0: too many, or they fail."""
        if arguments not in self._limits:
            status, seconds = worker.run(path, (worker.tree / path).read_text(), arguments, LONGEST)
            if status not in PASSED:
                why = f"over {LONGEST:.0f} s" if status == TIMED_OUT else "fails without a fault"
                print(f"left out, {why}: {arguments[-1]}", flush=True)
            self._limits[arguments] = 3 * seconds + 20 if status in PASSED else 0.0
        return self._limits[arguments]


def verdicts() -> dict[tuple[str, str, str], str]:
    """Faults that change nothing: (definition, line before, line after) -> the reason."""
    entries = tomllib.loads(VERDICTS.read_text()).get("equivalent", []) if VERDICTS.exists() else []
    return {(each["where"], each["before"], each["after"]): each["reason"] for each in entries}


def tracked() -> list[str]:
    """The files of the working tree that git knows or would take."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return [path for path in listed if Path(path).is_file()]


@contextmanager
def workers(python: Path, count: int, files: Sequence[str]) -> Iterator[list[Worker]]:
    """So many, each with a copy of the tree that is removed when the block ends."""
    with tempfile.TemporaryDirectory(prefix="m") as name:
        found = [Worker(python, Path(name) / str(number), files) for number in range(count)]
        try:
            yield found
        finally:
            for worker in found:
                worker.close()


def main() -> int:
    """Draw, test, print; 1 where too many survived."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="the project's interpreter")
    parser.add_argument("--package", action="append", help="a folder of modules (triggers, trainer, service)")
    parser.add_argument("--modules", type=int, default=60, help="how many modules, those with the most places for one")
    parser.add_argument("--count", type=int, default=100, help="how many faults")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="tests of so many faults at a time")
    chosen = parser.parse_args()
    files = tracked()
    python_files = [path for path in files if path.endswith(".py")]
    packages = tuple(
        f"{name.rstrip('/')}/" for name in chosen.package or ("fairtrigger", "triggers", "trainer", "service")
    )
    modules = [path for path in python_files if path.startswith(packages)]
    drawn = sample(modules, chosen.modules, chosen.count, chosen.seed)
    known = verdicts()
    tried = [mutant for mutant in drawn if (mutant.where, mutant.before, mutant.after) not in known]
    with workers(chosen.python.absolute(), chosen.jobs, files) as found:
        trial = Trial(found, Guards(Path(), python_files))
        survivors = list(_survivors(trial, tried, chosen.jobs))
    caught = len(tried) - len(survivors)
    share = caught / max(len(tried), 1)
    print(
        f"{len(drawn)} faults in {len({mutant.path for mutant in drawn})} modules, {len(drawn) - len(tried)} of which "
        f"change nothing ({VERDICTS}); of the others {caught} of {len(tried)} were caught ({share:.1%})"
    )
    return int(share < ENOUGH)


def _survivors(trial: Trial, mutants: Sequence[Mutant], jobs: int) -> Iterator[Mutant]:
    with ThreadPoolExecutor(jobs) as pool:
        trials = {pool.submit(trial.caught, mutant): mutant for mutant in mutants}
        for done, each in enumerate(as_completed(trials), 1):
            mutant, caught = trials[each], each.result()
            what = f"caught: {mutant.path}:{mutant.line}" if caught else f"survived: {mutant}"
            print(f"{done} of {len(mutants)}: {what}", flush=True)
            if not caught:
                yield mutant


if __name__ == "__main__":
    sys.exit(main())
