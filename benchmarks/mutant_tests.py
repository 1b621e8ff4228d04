"""Which test files guard a module, read from the tree: its mirror first, then those that import it."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path, PurePosixPath


def mirror(path: str) -> str:
    """The test file of a module: `a/b/c.py` has `tests/a/b/test_c.py`."""
    module = PurePosixPath(path)
    return str("tests" / module.parent / f"test_{module.name}")


class Guards:
    """Test files by how near to a module they are. `files` are the Python files of the tree under `root`."""

    def __init__(self, root: Path, files: Iterable[str]) -> None:
        names = {_module_name(path): path for path in files}
        self._imported = {path: _imports(root / path, names) for path in names.values()}
        self._length = {path: (root / path).stat().st_size for path in names.values()}

    def of(self, path: str, distance: int) -> list[str]:
        """The mirror, tests that import the module, those of the mirror's folder; at 2 those that import an importer.

        Of each kind the short ones first.
        """
        own = mirror(path)
        found = [own] if own in self._imported else []
        folder = PurePosixPath(own).parent
        beside = {each for each in self._imported if PurePosixPath(each).match(f"{folder}/test_*.py")}
        near = {path}
        for _ in range(distance):
            importers = {each for each, imported in self._imported.items() if imported & near}
            tests = {each for each in importers if PurePosixPath(each).name.startswith("test_")}
            found += self._shortest_first(tests.difference(found))
            found += self._shortest_first(beside.difference(found))
            near = importers - tests
        return found

    def _shortest_first(self, paths: Iterable[str]) -> list[str]:
        return sorted(paths, key=lambda each: (self._length[each], each))


def _module_name(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _imports(file: Path, names: dict[str, str]) -> set[str]:
    """Paths of the project's modules that a file names in its imports."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {names[name] for name in found if name in names}
