"""A seeded sample of small faults in this project's modules; cosmic-ray makes them."""

from __future__ import annotations

import ast
import difflib
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

NEED_ARGUMENTS = ("core/NoOp", "core/VariableReplacer", "core/VariableInserter")

Span = tuple[tuple[int, int], tuple[int, int]]
"""Where something begins and ends: (line, column) twice."""


@dataclass(frozen=True)
class Mutant:
    """One fault: the definition it is in, the line that it changes, and the module's text with it."""

    path: str
    where: str
    line: int
    before: str
    after: str
    source: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line} in {self.where}\n    - {self.before}\n    + {self.after}"


def sample(paths: Iterable[str], modules: int, count: int, seed: int) -> list[Mutant]:
    """`count` faults; every place of the `modules` modules with the most places is equally likely, and drawn once."""
    places = {path: sites(Path(path).read_text()) for path in paths}
    most = sorted(places, key=lambda path: (-len(places[path]), path))[:modules]
    drawn = [(path, span) for path in sorted(most) for span in sorted(places[path])]
    chance = random.Random(seed)
    chance.shuffle(drawn)
    return [_mutant(path, span, *chance.choice(places[path][span])) for path, span in drawn[:count]]


def sites(source: str) -> dict[Span, list[tuple[str, int]]]:
    """The places for a fault that runs and can be seen, each with its (operator, occurrence) pairs."""
    left_alone = list(_left_alone(ast.parse(source)))
    nodes = list(ast_nodes(get_ast(source)))
    found: dict[Span, list[tuple[str, int]]] = {}
    for name in operator_names():
        if name in NEED_ARGUMENTS:
            continue
        operator = get_operator(name)()
        spans = (span for node in nodes for span in operator.mutation_positions(node))
        for occurrence, span in enumerate(spans):
            if not any(start <= span[0] and span[1] <= end for start, end in left_alone):
                found.setdefault(span, []).append((name, occurrence))
    return found


def _left_alone(tree: ast.Module) -> Iterator[Span]:
    """Where annotations and type aliases are, which do not run, and the `strict` of `zip`, an assertion."""
    for node in ast.walk(tree):
        for part in _unseen(node):
            if part is not None:
                end = (part.end_lineno or part.lineno, part.end_col_offset or part.col_offset)
                yield (part.lineno, part.col_offset), end


def _unseen(node: ast.AST) -> list[ast.expr | None]:
    match node:
        case ast.AnnAssign(annotation=ast.Name(id="TypeAlias")):
            return [node.annotation, node.value]
        case ast.AnnAssign() | ast.arg():
            return [node.annotation]
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            return [node.returns]
        case ast.Call(func=ast.Name(id="zip")):
            return [keyword.value for keyword in node.keywords]
    return []


def _mutant(path: str, span: Span, operator: str, occurrence: int) -> Mutant:
    source = Path(path).read_text()
    mutated: str = mutate_code(source, get_operator(operator)(), occurrence)
    lines = list(difflib.ndiff(source.splitlines(), mutated.splitlines()))
    before, after = (" ".join(line[2:].strip() for line in lines if line.startswith(sign)) for sign in ("- ", "+ "))
    return Mutant(path, enclosing(ast.parse(source), span[0][0]), span[0][0], before, after, mutated)


def enclosing(tree: ast.AST, line: int) -> str:
    """The names of the classes and functions around a line, as in `Class.method`; `module` outside all."""
    around = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and min([node.lineno, *(each.lineno for each in node.decorator_list)]) <= line <= (node.end_lineno or 0)
    ]
    return ".".join(node.name for node in sorted(around, key=lambda node: node.lineno)) or "module"
