"""Every key that the trigger store keeps in Redis. Those of a model share the hash tag {model}: one cluster slot.

    fairtrigger:models                     set     names of models, perhaps of some that have nothing yet
    fairtrigger:{model}:history            list    entries as JSON, oldest first; every change appends one
    fairtrigger:{model}:versions           list    version n, without its tensors, as JSON at place n - 1
    fairtrigger:{model}:digests            hash    digest -> version, made from the versions where it lacks some
    fairtrigger:{model}:rollout            string  JSON
    fairtrigger:{model}:replicas           hash    name -> when it expires, in the server's seconds, and JSON
    fairtrigger:{model}:artifact:<sha256>  string  the bytes of a file, unless they lie elsewhere

    fairtrigger:rollouts                   channel the name of a model whose rollout changed

The ledger's keys are in service/ledger/redis_scripts.py: also under fairtrigger:{model}, with other endings.
"""

from __future__ import annotations

MODELS = "fairtrigger:models"
CHANNEL = "fairtrigger:rollouts"


def model_key(model: str, what: str) -> str:
    """One key of a model."""
    return f"fairtrigger:{{{model}}}:{what}"


def history_key(model: str) -> str:
    """Key of the history."""
    return model_key(model, "history")


def versions_key(model: str) -> str:
    """Key of the versions."""
    return model_key(model, "versions")


def digests(model: str) -> str:
    """Key of the versions' numbers by digest."""
    return model_key(model, "digests")


def rollout_key(model: str) -> str:
    """Key of the rollout."""
    return model_key(model, "rollout")


def replicas_key(model: str) -> str:
    """Key of the running services."""
    return model_key(model, "replicas")


def artifact_key(model: str, sha256: str) -> str:
    """Key of a file's bytes, by their hash in hexadecimal."""
    return model_key(model, f"artifact:{sha256}")
