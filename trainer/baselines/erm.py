"""Fitting of the base classifier, which is then frozen: plain empirical risk minimisation (ERM), blind to groups.

It reads the `base` part of the data, which no trigger is tuned on, and runs through the serving forward pass with no
trigger. Validation only watches, unless `early_stopping` keeps its best epoch: the accuracy of that epoch is biased
upwards (by two points on 1,500 faces), and so is the accuracy floor that triggers then have to keep.
Departure from the paper's code: there, the base model is fitted on the trigger's tuning rows too, or on them alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, cos, isfinite, pi
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from trainer.config import BaseConfig, RunConfig
from trainer.data import Batches, DataLoader, Dataset, place_on_device, shift_images
from trainer.evaluation import confusion_counts
from trainer.evaluation.counts import accuracy
from trainer.progress import Progress, Task
from triggers.allow_lists import Factories
from triggers.errors import ConfigError, DataError, ModelError
from triggers.model import BundleSpec, FrozenClassifier, find_padding
from triggers.model.bundle import (
    FactoryLoader,
    TorchvisionLoader,
    TransformersLoader,
    bare_network,
    pretrained,
    save_bundle,
)
from triggers.model.networks.checkpoint import load_weights
from triggers.model.reprogram import reprogram
from triggers.model.text.text_input import original_pad_id
from triggers.model.text.tokenizer import check_tokenizer
from triggers.preprocessing import ImageSpec, Inputs, TextBatch, TextSpec
from triggers.storage.regular_file import read_regular

WARMUP = 0.1
"""Share of the steps in which the learning rate rises to its full value; after it, it falls as a cosine to 0."""

CLIP_NORM = 1.0

TRAINED_ON = "trained_on.txt"
"""File in the bundle: the content digests of the rows that the classifier was fitted on, one per line."""


def fit_base(config: RunConfig, loader: DataLoader, device: torch.device, progress: Progress) -> None:
    """Fit the classifier of [base] and write it as the bundle of [model]. Raises ConfigError, DataError, ModelError."""
    assert config.base
    base, folder = config.base.named(loader.label_names), config.model.bundle
    with torch.random.fork_rng():
        torch.manual_seed(base.seed)
        untrained = build_untrained(base, folder, device)
        parts = {part: loader.load(untrained, part) for part in ("base", "val")}
        train, val = place_on_device(parts, device, config.train.device_memory_gb, progress)
        fit = _Fit(base, untrained, train, val, bf16=config.train.precision == "bf16")
        with progress.task(f"fit {untrained.name}", fit.steps) as task:
            state = fit.run(task)
    load_weights(untrained.network, state)
    write_bundle(folder, untrained, loader.contents("base"))
    progress.note(f"base classifier: validation accuracy {fit.kept_accuracy:.4f}, frozen in {folder}")


def refuse_overlap(folder: Path, loader: DataLoader) -> None:
    """Raise DataError if rows that this bundle was fitted on are in the tuning, val or test part."""
    path = folder / TRAINED_ON
    used = set(read_regular(path).decode().split()) if path.exists() else set()
    for part in ("tuning", "val", "test"):
        shared = len(used.intersection(loader.contents(part)))
        if shared:
            problem = f"{shared} rows of the {part} part were used to fit {folder}, so results on them would flatter."
            raise DataError(f"{problem} Restore [split] and [data] as they were then, or delete the bundle to refit.")


def build_untrained(base: BaseConfig, folder: Path, device: torch.device) -> FrozenClassifier:
    """The classifier with fresh weights (images) or a fresh head on the encoder (texts), not frozen yet."""
    name = base.name or folder.name.lower()
    try:
        spec = _image_spec(base, name) if base.modality == "image" else _text_spec(base, name)
    except ValueError as error:
        raise ConfigError(f"[base] cannot make a model bundle named {name!r} (base.name): {error}") from error
    network, tokenizer = _network(base, spec)
    untrained = FrozenClassifier(spec, network, tokenizer, str(device))
    if spec.text:
        check_tokenizer(tokenizer, len(untrained.embedding_matrix))
        untrained.check_length()
        text = replace(spec.text, padding=find_padding(untrained))
        untrained = FrozenClassifier(spec.model_copy(update={"text": text}), network, tokenizer, str(device))
    untrained.network.requires_grad_(True)
    return untrained


@dataclass
class _Fit:
    """One run of AdamW over the base part."""

    base: BaseConfig
    classifier: FrozenClassifier
    train: Dataset
    val: Dataset
    bf16: bool
    kept_accuracy: float = -1.0

    @property
    def steps(self) -> int:
        """Optimiser steps in all."""
        return self.base.epochs * self._epoch

    @property
    def _epoch(self) -> int:
        return ceil(len(self.train) / min(self.base.batch_size, len(self.train)))

    def run(self, task: Task) -> dict[str, Tensor]:
        """Train to the end and return the weights of the last epoch, or of the best one."""
        base, network = self.base, self.classifier.network
        device = self.classifier.device
        batches = Batches(self.train, base.batch_size, seed=base.seed, flip=base.flip, crop=base.crop, device=device)
        self._null_bank = self.classifier.bank([self.classifier.null_trigger()])
        optimizer = torch.optim.AdamW(parameter_groups(network, base.weight_decay), fused=self.train.labels.is_cuda)
        kept: dict[str, Tensor] = {}
        for step, batch in enumerate(batches.each(range(self.steps))):
            for group in optimizer.param_groups:
                group["lr"] = base.peak_lr * warmup_cosine(step, self.steps)
            loss = self._step(optimizer, random_shift(batch.inputs, base.shift), batch.labels)
            task.advance(loss=loss)
            if (step + 1) % self._epoch == 0 and self._validate(task):
                kept = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
        return kept

    def _step(self, optimizer: torch.optim.Optimizer, inputs: Inputs, labels: Tensor) -> float:
        self.classifier.network.train()
        index = torch.zeros_like(labels)
        with torch.autocast(labels.device.type, torch.bfloat16, enabled=self.bf16):
            loss = cross_entropy(reprogram(self.classifier, inputs, self._null_bank, index), labels)
        optimizer.zero_grad(set_to_none=True)
        if not isfinite(loss.item()):
            raise ConfigError(f"Fitting the base classifier diverged, its loss is {loss.item()}: lower base.lr.")
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self.classifier.network.parameters(), CLIP_NORM)
        optimizer.step()
        return loss.item()

    def _validate(self, task: Task) -> bool:
        """Whether to keep this epoch's weights; with early stopping, of equally accurate epochs the earlier ones."""
        self.classifier.network.eval()
        counts = confusion_counts(self.classifier, self.val, self._null_bank, self.base.batch_size)
        reached = accuracy(counts[0])
        task.advance(0, val_accuracy=reached)
        keep = not self.base.early_stopping or reached > self.kept_accuracy
        if keep:
            self.kept_accuracy = reached
        return keep


def parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups for AdamW: biases and normalisation weights are not decayed."""
    matrices = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    vectors = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]


def warmup_cosine(step: int, steps: int) -> float:
    """Learning rate factor at a step, counted from 0: linear warm-up, then cosine decay."""
    warm = max(1, round(WARMUP * steps))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + cos(pi * (step - warm) / (steps - warm)))


def random_shift(inputs: Inputs, reach: int) -> Inputs:
    """Images (B, C, H, W), each moved by up to `reach` pixels both ways; the border is repeated."""
    if not reach or isinstance(inputs, TextBatch):
        return inputs
    return shift_images(inputs, torch.randint(-reach, reach + 1, (2, len(inputs))).to(inputs.device))


def _image_spec(base: BaseConfig, name: str) -> BundleSpec:
    assert base.builder
    loader: TorchvisionLoader | FactoryLoader
    if ":" in base.builder:
        loader = FactoryLoader(kind="factory", target=base.builder, kwargs=dict(base.builder_kwargs))
    else:
        kwargs = {"num_classes": len(base.labels), **base.builder_kwargs}
        loader = TorchvisionLoader(kind="torchvision", builder=base.builder, kwargs=kwargs)
    image = ImageSpec.square(base.size, base.mean, base.std, base.channels, base.resize)
    return BundleSpec(
        name=name, modality="image", loader=loader, labels=base.labels, pos_label=base.pos_label, image=image
    )


def _text_spec(base: BaseConfig, name: str) -> BundleSpec:
    loader, text = TransformersLoader(kind="transformers"), TextSpec(base.max_tokens)
    return BundleSpec(
        name=name, modality="text", loader=loader, labels=base.labels, pos_label=base.pos_label, text=text
    )


def _network(base: BaseConfig, spec: BundleSpec) -> tuple[nn.Module, Any]:
    """The bare network and, for texts, the encoder's tokenizer."""
    if isinstance(spec.loader, TorchvisionLoader | FactoryLoader):
        return bare_network(spec.loader, Factories.of_environment()), None
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder, labels = str(base.encoder), dict(enumerate(base.labels))
    if not Path(folder).is_dir():
        raise ModelError(f"No such folder: {folder}. Set base.encoder to a local transformers encoder.")
    auto, options = AutoModelForSequenceClassification, {"num_labels": len(labels), "id2label": labels}
    network = pretrained(auto, folder, dtype=torch.float32, use_safetensors=True, **options)
    return network, pretrained(AutoTokenizer, folder)


def write_bundle(folder: Path, classifier: FrozenClassifier, contents: Sequence[str]) -> None:
    """Write a fitted model as a bundle: weights, then the digests of the rows they were fitted on.

    `model.json` is written last: without it there is no bundle.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / TRAINED_ON).write_text("\n".join(contents) + "\n")
    if isinstance(classifier.spec.loader, TransformersLoader):
        network: Any = classifier.network
        with original_pad_id(network):
            network.save_pretrained(folder)
        if classifier.tokenizer:
            classifier.tokenizer.save_pretrained(folder)
        save_bundle(folder, classifier.spec)
    else:
        save_bundle(folder, classifier.spec, classifier.network.state_dict())
