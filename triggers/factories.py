"""The allow-list of modules that a bundle may import to build its network: empty, unless the operator lists some."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from triggers.errors import ModelError

VARIABLE = "FAIRTRIGGER_ALLOW_FACTORIES"
ALL = "all"


@dataclass(frozen=True)
class Factories:
    """Modules, each with those inside it, whose functions a bundle may name; `all` stands for any module."""

    modules: tuple[str, ...] = ()

    @classmethod
    def of_environment(cls, environment: Mapping[str, str] = os.environ) -> Factories:
        """Those that FAIRTRIGGER_ALLOW_FACTORIES lists, separated by commas."""
        return cls(tuple(filter(None, (each.strip() for each in environment.get(VARIABLE, "").split(",")))))

    def check(self, target: str) -> None:
        """Raise ModelError unless the module of `target` (`module:function`) is listed."""
        module = target.partition(":")[0]
        if not any(each in (ALL, module) or module.startswith(f"{each}.") for each in self.modules):
            raise ModelError(
                f"The bundle's factory {target!r} would run code of module {module}, which is not allowed here: "
                f"if you trust it, give --allow-factories {module} (or set {VARIABLE}={module})."
            )
