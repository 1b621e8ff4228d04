"""Fairness triggers for frozen classifiers: wrap, train, load, score, ask a service, audit, plot.

    import fairtrigger

    fairtrigger.wrap("./my-model", "models/comments", positive="toxic")
    run = fairtrigger.train("run.toml")
    model = fairtrigger.load("models/comments", trigger="v1", store="fairtrigger-store")
    fairtrigger.score("models/comments", "posts.csv", "scores.parquet", trigger="none,v1")
    client = fairtrigger.client.Client("http://localhost:8080")
    fairtrigger.audit("loans.csv", decision="approved", positive="yes", groups=["sex"], out="audit")
    fairtrigger.plots.front(run)

What is named here is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fairtrigger import client as client
    from fairtrigger import plots as plots
    from fairtrigger.auditing import audit as audit
    from fairtrigger.loading import load as load
    from fairtrigger.scoring import score as score
    from fairtrigger.training import train as train
    from fairtrigger.wrapping import wrap as wrap

    __version__: str

__all__ = ["__version__", "audit", "client", "load", "plots", "score", "train", "wrap"]

_HOMES = {
    "audit": "fairtrigger.auditing",
    "load": "fairtrigger.loading",
    "score": "fairtrigger.scoring",
    "train": "fairtrigger.training",
    "wrap": "fairtrigger.wrapping",
}
"""The module of each function."""


if not TYPE_CHECKING:  # so that a checker knows these names alone

    def __getattr__(name: str) -> Any:
        if name == "__version__":
            try:
                return version("fairtrigger")
            except PackageNotFoundError:
                return "unknown"
        if name in ("client", "plots"):  # modules
            return import_module(f"fairtrigger.{name}")
        if name not in _HOMES:
            raise AttributeError(f"module 'fairtrigger' has no attribute {name!r}")
        found = globals()[name] = getattr(import_module(_HOMES[name]), name)
        return found


def __dir__() -> list[str]:
    return sorted(__all__)
