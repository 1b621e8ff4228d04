"""A frozen classifier behind FAAP's generator: its predictions, and the generator's file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from trainer.baselines.faap.generator import PerturbationGenerator
from trainer.data import Dataset
from triggers.errors import ModelError
from triggers.model import FrozenClassifier
from triggers.model.networks.checkpoint import load_weights

GENERATOR_FILE = "generator.safetensors"

FAAP_KEY = "faap"
"""Key of the file's metadata: {"model": fingerprint, "epsilon": .125} as JSON."""


@dataclass(frozen=True, eq=False)
class PerturbedClassifier:
    """A frozen classifier of images that sees each of them with the perturbation that the generator makes for it."""

    classifier: FrozenClassifier
    generator: PerturbationGenerator

    @classmethod
    def untrained(cls, classifier: FrozenClassifier, epsilon: float) -> PerturbedClassifier:
        """With a new generator of the classifier's image size, drawn from torch's global generator."""
        channels, height, width = _shape(classifier)
        generator = PerturbationGenerator(channels, (height, width), epsilon)
        return cls(classifier, generator.to(classifier.device))

    @classmethod
    def load(cls, folder: Path, classifier: FrozenClassifier) -> PerturbedClassifier:
        """From what `save` wrote. Raises ModelError if the generator was trained for another model."""
        with safe_open(folder / GENERATOR_FILE, framework="pt") as file:
            stated = json.loads(file.metadata()[FAAP_KEY])
            weights = {name: file.get_tensor(name) for name in file.keys()}
        if stated["model"] != classifier.fingerprint:
            raise ModelError(f"{folder} was trained for {stated['model']}, not for {classifier.fingerprint}.")
        made = cls.untrained(classifier, stated["epsilon"])
        load_weights(made.generator, weights)
        made.generator.requires_grad_(False)
        return made

    def save(self, folder: Path) -> None:
        """Write the generator as safetensors, with its epsilon and the fingerprint of the model that it is for."""
        folder.mkdir(parents=True, exist_ok=True)
        stated = {"model": self.classifier.fingerprint, "epsilon": self.generator.epsilon}
        weights = {name: tensor.contiguous().cpu() for name, tensor in self.generator.state_dict().items()}
        save_file(weights, folder / GENERATOR_FILE, {FAAP_KEY: json.dumps(stated)})

    def predict(self, data: Dataset, rows: int) -> Tensor:
        """Predicted labels (N,), in float32, in the order and on the device of the data; `rows` at a time."""
        device, found = data.labels.device, []
        with torch.inference_mode():
            for index in torch.split(torch.arange(len(data), device=device), rows):
                images = cast(Tensor, data.take(index).to(self.classifier.device).inputs)
                logits = self.classifier.image_logits(self.generator.perturbed(images))
                found.append(self.classifier.decision.labels(logits).to(device))
        return torch.cat(found)


def _shape(classifier: FrozenClassifier) -> tuple[int, int, int]:
    assert classifier.spec.image  # RunConfig refuses FAAP for texts
    return classifier.spec.image.pixel_shape
