"""No thread of the packages dies of an error that nobody expected: each one's loop has a boundary for any Exception."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ELSEWHERE = {
    "service/engine/batching/batcher.py:_work": "a failed batch is answered where it is served; `alive` tells",
    "service/workers/control_socket.py:follow": "without it the process ends itself",
    "service/workers/engine_pool.py:_accept_engines": "lets an arrival in",
    "service/workers/engine_pool.py:_receive": "ends with its arrival",
    "trainer/progress/run_tracker.py:_work": "`_deliver` catches whatever a tracker raises",
}
"""Threads whose errors are dealt with where they work, or that end with what they do."""


def targets() -> Iterator[tuple[str, ast.AST]]:
    """Every function that a Thread of the three packages runs, by file and name."""
    for path in sorted(
        path
        for package in ("fairtrigger", "triggers", "service", "trainer")
        for path in ROOT.glob(f"{package}/**/*.py")
    ):
        text = path.read_text()
        if "Thread(" not in text:
            continue
        tree = ast.parse(text)
        functions = {each.name: each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef)}
        for call in ast.walk(tree):
            if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("Thread"):
                for target in (each.value for each in call.keywords if each.arg == "target"):
                    name = ast.unparse(target).removeprefix("self.")
                    yield f"{path.relative_to(ROOT)}:{name}", functions[name]


FOUND = dict(targets())


def test_there_are_threads() -> None:
    assert {
        "service/guard/webhook.py:_post",
        "service/rollout/follower.py:_reconcile_forever",
        "triggers/store/redis_pubsub.py:_run",
    } <= set(FOUND)


@pytest.mark.parametrize("name", sorted(set(FOUND) - set(ELSEWHERE)))
def test_a_thread_outlives_any_error(name: str) -> None:
    caught = [each.type for each in ast.walk(FOUND[name]) if isinstance(each, ast.ExceptHandler)]
    assert any(isinstance(kind, ast.Name) and kind.id == "Exception" for kind in caught)
