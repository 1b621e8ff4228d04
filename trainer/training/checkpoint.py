"""The checkpoint of a run, from which a killed trainer goes on: safetensors, with the rest as JSON in the metadata.

    tensors     module.*, adversaries.*, kept.*; optimizer.<i>.*, adversary_optimizer.<i>.* (the moments of Adam)
    metadata    {"checkpoint": {"identity": {...}, "step": 120, "seconds": 8.1}}

No generator state is kept: batches follow from the seed and the step's number alone. Never pickle. The file is replaced
atomically, so it is always complete.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.optim import Optimizer

from trainer.config import RunConfig, to_dict
from trainer.config.run_config import ADDED_KEYS, REMOVED_KEYS
from trainer.data import Dataset
from trainer.training.step import TriggerOptimizer
from trainer.training.validation_history import SnapshotStore
from triggers.errors import ConfigError
from triggers.fingerprint import canonical_json, tensors_digest
from triggers.model import FrozenClassifier
from triggers.preprocessing import TextBatch
from triggers.storage import write_atomically

KEY = "checkpoint"

FREE_KEYS = {"publish": None, "report": None, "select": "publish", "train": "checkpoint_every"}
"""Settings that may change when a run goes on: whole sections (None) or one key of a section."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """After `step` steps and `seconds` of work: tensors by name."""

    step: int
    seconds: float
    tensors: Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class Checkpointer:
    """Saves and restores a run at `path`: step, seconds, optimizer state and kept snapshots.

    A file of another `identity` is refused.
    """

    path: Path
    identity: Mapping[str, Any]
    optimizer: TriggerOptimizer
    snapshot_store: SnapshotStore

    def save(self, step: int, seconds: float) -> None:
        """Write the state after `step` steps. Processes of a group hold equal states; the main one writes."""
        if not self.optimizer.process_group.is_main_process:
            return
        tensors = {f"kept.{name}": tensor for name, tensor in self.snapshot_store.tensors().items()}
        for name, module in self._modules().items():
            tensors |= module_tensors(name, module)
        for name, optimizer in self._optimizers().items():
            tensors |= optimizer_tensors(name, optimizer)
        save_checkpoint(self.path, Checkpoint(step, seconds, tensors), self.identity)

    def restore(self) -> tuple[int, float]:
        """Put the file's state back, and return its step and seconds: (0, 0.0) where there is none.

        Raises ConfigError if it is damaged or another run's.
        """
        found = load_checkpoint(self.path, self.identity)
        if found is None:
            return 0, 0.0
        for name, module in self._modules().items():
            restore_module(name, module, found.tensors)
        for name, optimizer in self._optimizers().items():
            restore_optimizer(name, optimizer, found.tensors)
        self.snapshot_store.restore(_under("kept", found.tensors))
        return found.step, found.seconds

    def _modules(self) -> dict[str, nn.Module]:
        optimizer = self.optimizer
        modules: dict[str, nn.Module] = {"module": optimizer.module, "adversaries": optimizer.adversaries}
        return modules if optimizer.average is optimizer.module else modules | {"average": optimizer.average}

    def _optimizers(self) -> dict[str, Optimizer]:
        return {"optimizer": self.optimizer.optimizer, "adversary_optimizer": self.optimizer.adversary_optimizer}


def run_identity(config: RunConfig, classifier: FrozenClassifier, parts: Mapping[str, Dataset]) -> dict[str, Any]:
    """The identity of a run, all that decides its result: configuration, model, content of the named data parts."""
    table = to_dict(config)
    for section, key in FREE_KEYS.items():
        table[section] = {} if key is None else {k: v for k, v in table[section].items() if k != key}
    content = {f"{name}.{key}": tensor for name, part in parts.items() for key, tensor in _content(part).items()}
    return {**table, "model_fingerprint": classifier.fingerprint, "data_digest": tensors_digest(content)}


def _content(data: Dataset) -> dict[str, Tensor]:
    inputs, targets = data.inputs, {"labels": data.labels, "groups": data.groups}
    if isinstance(inputs, TextBatch):
        return {"ids": inputs.ids, "lengths": inputs.lengths, **targets}
    return {"pixels": inputs, **targets}


def save_checkpoint(path: Path, checkpoint: Checkpoint, identity: Mapping[str, Any]) -> None:
    """Replace the file. `identity`, JSON values of any depth, must be the same when the run goes on."""
    state = {
        "identity": identity,
        "step": checkpoint.step,
        "seconds": checkpoint.seconds,
    }
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in checkpoint.tensors.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, save(tensors, {KEY: canonical_json(state).decode()}))


def load_checkpoint(path: Path, identity: Mapping[str, Any]) -> Checkpoint | None:
    """The file's content; None if there is none. Raises ConfigError if it is damaged or belongs to another run."""
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            state = json.loads(file.metadata()[KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path} is no checkpoint of this trainer ({error}). Delete it, or use --fresh.") from error
    if "snapshots" in state:
        lacks = "lacks what its triggers predicted, by which they are selected now"
        raise ConfigError(f"{path} is of an earlier release and {lacks}; use another --out, or drop it with --fresh.")
    _check_identity(path, state["identity"], json.loads(canonical_json(identity)))
    return Checkpoint(state["step"], state["seconds"], tensors)


def module_tensors(name: str, module: nn.Module) -> dict[str, Tensor]:
    """A module's state as `name.*`."""
    return {f"{name}.{key}": tensor for key, tensor in module.state_dict().items()}


def optimizer_tensors(name: str, optimizer: Optimizer) -> dict[str, Tensor]:
    """An Adam's state as `name.<parameter>.<moment>`; learning rates are not state, every step sets them."""
    state = optimizer.state_dict()["state"]
    return {f"{name}.{i}.{key}": tensor for i, moments in state.items() for key, tensor in moments.items()}


def restore_module(name: str, module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Load a state made by `module_tensors`."""
    module.load_state_dict(_under(name, tensors))


def restore_optimizer(name: str, optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Load a state made by `optimizer_tensors`."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in _under(name, tensors).items():
        parameter, _, moment = key.partition(".")
        state.setdefault(int(parameter), {})[moment] = tensor
    optimizer.load_state_dict(optimizer.state_dict() | {"state": state})


def _under(name: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(f"{name}."): tensor for key, tensor in tensors.items() if key.startswith(f"{name}.")}


def _check_identity(path: Path, saved: Mapping[str, Any], present: Mapping[str, Any]) -> None:
    before, now = dict(_flat(saved)), dict(_flat(present))
    differing = sorted(
        key
        for key in before.keys() | now.keys()
        if before.get(key, ADDED_KEYS.get(key)) != now.get(key, REMOVED_KEYS.get(key))
    )
    if differing:
        listed = "; ".join(f"{key} was {before.get(key)!r}, is {now.get(key)!r}" for key in differing)
        ways = "Undo the change, use another --out, or drop the old run with --fresh."
        raise ConfigError(f"{path} belongs to another run: {listed}. {ways}")


def _flat(table: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    items: list[tuple[str, Any]] = []
    for key, value in table.items():
        items += _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(f"{prefix}{key}", value)]
    return items
