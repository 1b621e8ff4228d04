"""Paths into JSON: `$`, `.name`, `['name']`, `[0]` and `[*]`, a subset of JSONPath; lists stay nested as they are."""

from __future__ import annotations

import re
from typing import Any, TypeAlias

from triggers.errors import ModelError

PathStep: TypeAlias = str | int | None
"""A name, an index, or every element."""
_STEP = re.compile(r"\.([A-Za-z_][\w-]*)|\['([^']*)'\]|\[(\d+)\]|\[(\*)\]")


def parse_json_path(path: str) -> tuple[PathStep, ...]:
    """The steps of a path. Raises ValueError."""
    steps: list[PathStep] = []
    at = 1
    while at < len(path):
        found = _STEP.match(path, at)
        if not path.startswith("$") or found is None:
            break
        name, quoted, index, _every = found.groups()
        steps.append(int(index) if index else name if name is not None else quoted)
        at = found.end()
    if not path.startswith("$") or at < len(path):
        raise ValueError(f"{path!r} is no path of $, .name, ['name'], [0] and [*]")
    return tuple(steps)


def value_at(found: Any, steps: tuple[PathStep, ...]) -> Any:
    """What lies at a path; `[*]` gives a list. Raises ModelError."""
    for n, step in enumerate(steps):
        if step is None and isinstance(found, list):
            return [value_at(each, steps[n + 1 :]) for each in found]
        known = isinstance(found, dict) if isinstance(step, str) else isinstance(found, list)
        if not known or (step not in found if isinstance(step, str) else step is None or step >= len(found)):
            holds = f"has {', '.join(map(repr, found))}" if isinstance(found, dict) else f"is {repr(found)[:80]}"
            raise ModelError(
                f"The endpoint's answer has no {_said(step)} where `loader.output` leads: there it {holds}."
            )
        found = found[step]
    return found


def _said(step: PathStep) -> str:
    return "list" if step is None else repr(step)
