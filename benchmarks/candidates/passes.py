"""Forward passes of a frozen classifier under K trainable changes of its inputs: inputs of B rows to (K, B, L) logits.

Every parameter has a leading K, one part per strength, which is what the product's gradient surgery and its history of
validations expect.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.functional import adaptive_avg_pool2d

from triggers.model import FrozenClassifier, sweep
from triggers.preprocessing import Inputs
from triggers.trigger import ImageBank, TextBank
from triggers.trigger.image_trainable import ImageModule
from triggers.trigger.text_trainable import TextModule

GATE_CELLS = 32
"""Side of the averaged image that a gate reads, at most."""


class Pass(nn.Module):
    """Base: inputs as they are, one row of logits (1, B, L) for all strengths."""

    def forward(self, classifier: FrozenClassifier, inputs: Inputs) -> Tensor:
        """Logits (K, B, L), differentiable in the parameters."""
        return sweep(classifier, inputs, _cast(classifier.bank([classifier.null_trigger()]), classifier))

    def slow_parameters(self) -> list[nn.Parameter]:
        """Those of networks, which want a lower learning rate than pixels and words."""
        return []

    def constrain_(self) -> None:
        """Bring the parameters back into their set after a step."""


class TriggerPass(Pass):
    """K constant triggers of the product: an overlay, soft words."""

    def __init__(self, module: ImageModule | TextModule) -> None:
        super().__init__()
        self.module = module

    def forward(self, classifier: FrozenClassifier, inputs: Inputs) -> Tensor:
        """Every trigger on every row."""
        return sweep(classifier, inputs, _cast(self.module.render(), classifier))

    def constrain_(self) -> None:
        """The trigger's own."""
        self.module.constrain_()


class ImagePass(Pass):
    """Base: changes (K, B, C, H, W) added to the pixels of each image."""

    def changes(self, pixels: Tensor) -> Tensor:
        """Changes of images (B, C, H, W) in [0, 1]."""
        raise NotImplementedError

    def forward(self, classifier: FrozenClassifier, inputs: Inputs) -> Tensor:
        """Every row with the change that each of the K makes for it."""
        pixels = cast(Tensor, inputs).to(torch.float32) / 255.0
        shown = (pixels + self.changes(pixels)).clamp(0.0, 1.0)
        return classifier.image_logits(shown.flatten(0, 1)).view(len(shown), len(pixels), -1)


class GatedOverlays(ImagePass):
    """M overlays, mixed for each image by a softmax over what a small network reads in its pixels."""

    def __init__(self, overlays: list[ImageModule], gate: nn.Module, count: int) -> None:
        super().__init__()
        self.overlays, self.gate = nn.ModuleList(overlays), StackedNetwork(gate, count)

    def changes(self, pixels: Tensor) -> Tensor:
        """Mixtures of the overlays."""
        weights = torch.softmax(self.gate(pixels), dim=-1)  # (K, B, M)
        deltas = torch.stack([cast(ImageModule, one).render().delta for one in self.overlays], dim=1)
        return torch.einsum("kbm,kmchw->kbchw", weights, deltas)

    def slow_parameters(self) -> list[nn.Parameter]:
        """The gate's."""
        return list(self.gate.parameters())


class GeneratedOverlays(ImagePass):
    """Changes that a network makes for each image, bounded by the network itself."""

    def __init__(self, generator: nn.Module, count: int) -> None:
        super().__init__()
        self.generator = StackedNetwork(generator, count)

    def changes(self, pixels: Tensor) -> Tensor:
        """What the network makes."""
        return cast(Tensor, self.generator(pixels))

    def slow_parameters(self) -> list[nn.Parameter]:
        """All of them."""
        return list(self.parameters())


class StackedNetwork(nn.Module):
    """K copies of a network without buffers, equal at the start, each with its own weights: (B, ...) to (K, B, ...)."""

    def __init__(self, network: nn.Module, count: int) -> None:
        super().__init__()
        self._network = (network,)  # in a tuple: its own weights are not trained
        stacked = {
            name.replace(".", "/"): nn.Parameter(weight.detach().repeat(count, *[1] * weight.ndim))
            for name, weight in network.named_parameters()
        }
        self.weights = nn.ParameterDict(stacked)

    def forward(self, x: Tensor) -> Tensor:
        """Every copy on the same inputs."""
        (network,) = self._network

        def run(weights: dict[str, Tensor]) -> Tensor:
            made: Tensor = functional_call(network, weights, (x,))
            return made

        return vmap(run)({name.replace("/", "."): weight for name, weight in self.weights.items()})


class PixelGate(nn.Module):
    """Images (B, C, H, W) in [0, 1] to logits (B, M) of M overlays, from a small average of the image."""

    def __init__(self, channels: int, choices: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 16, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(),
        )
        self.last = nn.Linear(32, choices)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits of the mixture."""
        cells = min(GATE_CELLS, *pixels.shape[-2:])
        seen = self.layers(2 * adaptive_avg_pool2d(pixels, cells) - 1)
        return cast(Tensor, self.last(seen.mean(dim=(-2, -1))))


def _cast(bank: ImageBank | TextBank, classifier: FrozenClassifier) -> ImageBank | TextBank:
    """Words in the number type that the classifier computes in; pixels are cast by the classifier."""
    if isinstance(bank, ImageBank):
        return bank
    return replace(bank, embeddings=bank.embeddings.to(classifier.dtype))
