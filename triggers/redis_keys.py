"""Every key that the trigger store keeps in Redis. Those of a model share the hash tag {model}: one cluster slot.

    fairtrigger:models                     set     names of models, perhaps of some that have nothing yet
    fairtrigger:{model}:history            list    entries as JSON, oldest first; every change appends one
    fairtrigger:{model}:versions           list    version n, without its tensors, as JSON at place n - 1
    fairtrigger:{model}:digests            hash    digest -> version, made from the versions where it lacks some
    fairtrigger:{model}:rollout            string  JSON
    fairtrigger:{model}:replicas           hash    name -> when it expires, in the server's seconds, and JSON
    fairtrigger:{model}:artifact:<sha256>  string  the bytes of a file, unless they lie elsewhere

    fairtrigger:rollouts                   channel the name of a model whose rollout changed

The ledger's keys are in service/ledger_scripts.py: also under fairtrigger:{model}, with other endings.
"""

from __future__ import annotations

MODELS = "fairtrigger:models"
CHANNEL = "fairtrigger:rollouts"


def of_model(model: str, what: str) -> str:
    """One key of a model."""
    return f"fairtrigger:{{{model}}}:{what}"


def history(model: str) -> str:
    """Key of the history."""
    return of_model(model, "history")


def versions(model: str) -> str:
    """Key of the versions."""
    return of_model(model, "versions")


def digests(model: str) -> str:
    """Key of the versions' numbers by digest."""
    return of_model(model, "digests")


def rollout(model: str) -> str:
    """Key of the rollout."""
    return of_model(model, "rollout")


def replicas(model: str) -> str:
    """Key of the running services."""
    return of_model(model, "replicas")


def artifact(model: str, sha256: str) -> str:
    """Key of a file's bytes, by their hash in hexadecimal."""
    return of_model(model, f"artifact:{sha256}")
