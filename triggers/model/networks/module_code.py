"""The code of a factory: found in the bundle that carries it, or among installed modules, and its digest.

A bundle's own module is imported under a name of its own, so that two bundles with modules of one name do not meet. It
may import installed packages, and its own parts by relative imports.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from triggers.errors import ModelError


def code_files(module: Path) -> list[Path]:
    """The Python files of a module: itself, or all in the folder of a package."""
    return sorted(module.rglob("*.py")) if module.is_dir() else [module]


def code_digest(name: str, code: Path | None = None) -> str:
    """`sha256:` over names and contents of a module's files. Raises ModelError if it is not found."""
    module = module_path(name, code)
    digest = hashlib.sha256()
    for file in code_files(module):
        place = file.relative_to(module.parent).as_posix()
        content = file.read_bytes()
        digest.update(f"{place} {len(content)}\n".encode() + content)
    return f"sha256:{digest.hexdigest()}"


def import_code(name: str, code: Path | None = None) -> ModuleType:
    """The module, from the folder `code` if it is given. Raises ModelError, or what the module's own code raises."""
    if code is None:
        return importlib.import_module(name)
    module = module_path(name, code)
    own = f"fairtrigger_bundle_{code_digest(name, code)[-16:]}_{module.stem}"
    if own not in sys.modules:
        start = module / "__init__.py" if module.is_dir() else module
        inside = [str(module)] if module.is_dir() else None
        spec = importlib.util.spec_from_file_location(own, start, submodule_search_locations=inside)
        assert spec and spec.loader
        made = sys.modules[own] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(made)
        except BaseException:
            del sys.modules[own]
            raise
    rest = name.split(".")[1:]
    return importlib.import_module(".".join([own, *rest])) if rest else sys.modules[own]


def module_path(name: str, code: Path | None) -> Path:
    """The file of a module, or the folder of the package that it is in."""
    top = name.split(".")[0]
    if code is None:
        spec = importlib.util.find_spec(top)
        found = Path(spec.origin) if spec and spec.origin and spec.has_location else None
        if found is not None:
            return found.parent if found.name == "__init__.py" else found
    else:
        for path in (code / top, code / f"{top}.py"):
            if path.exists():
                return path
    raise ModelError(f"The module {top!r} is not found{f' in {code}' if code else ''}.")
