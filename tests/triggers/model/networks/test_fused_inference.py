"""Faster copies of a network compute what the network computes, and leave it alone."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import Tensor, nn

from triggers.errors import ModelError
from triggers.model.classifier import FrozenClassifier
from triggers.model.networks.fused_inference import DenseStem, accelerate, fold_batch_norm, with_dense_stem


def settled(network: nn.Module) -> nn.Module:
    """Batch norms with statistics and weights of their own, so that folding them does something."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.running_var, module.weight, module.bias):
                assert tensor is not None
                with torch.no_grad():
                    tensor.copy_(torch.rand(tensor.shape, generator=generator) * 0.5 + 0.5)
    return network.eval()


def built(builder: str, labels: int) -> nn.Module:
    """A network of torchvision with random weights."""
    from torchvision.models import get_model

    network: nn.Module = get_model(builder, num_classes=labels)
    return network


@pytest.mark.parametrize("builder", ["resnet18", "mobilenet_v3_small"])
def test_outputs_are_those_of_the_original(builder: str) -> None:
    torch.manual_seed(0)
    network = settled(built(builder, 3))
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        expected, found = network(images), accelerate(network)(images)
    assert torch.allclose(expected, found, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_norms_are_gone_and_the_original_keeps_them() -> None:
    network = settled(built("resnet18", 2))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    faster = accelerate(network)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in faster.modules())
    assert sum(isinstance(module, nn.BatchNorm2d) for module in network.modules()) == 20
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


class Untraceable(nn.Module):
    """Branches on its input, which tracing cannot follow."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2)

    def forward(self, images: Tensor) -> Tensor:
        """Twice as much for bright images."""
        out: Tensor = self.norm(self.conv(images)).mean(dim=(2, 3))
        return 2 * out if float(images.mean()) > 0.5 else out


def test_a_network_that_cannot_be_traced_stays_as_it_is() -> None:
    network = settled(Untraceable())
    images = torch.rand(2, 3, 8, 8)
    assert torch.equal(fold_batch_norm(network)(images), network(images))


@pytest.mark.parametrize("size", [15, 16, 33])
@pytest.mark.parametrize(("kernel", "padding"), [(7, 3), (3, 1), (4, 1), (5, 2), (3, 0), (2, 0)])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_dense_stem_gives_the_same_sums(size: int, kernel: int, padding: int, channels: int) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(channels, 5, kernel, stride=2, padding=padding).double()
    images = torch.rand(2, channels, size, size + 3, dtype=torch.float64)
    assert torch.allclose(DenseStem(conv)(images), conv(images), atol=1e-12)


def test_only_strided_convolutions_over_colours_are_replaced() -> None:
    network = with_dense_stem(fold_batch_norm(settled(built("resnet18", 2))))
    assert [name for name, module in network.named_modules() if isinstance(module, DenseStem)] == ["conv1"]
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        assert network(images).shape == (2, 2)


def test_a_faster_classifier_has_the_fingerprint_of_the_original(image_model: FrozenClassifier) -> None:
    fast = image_model.accelerated(torch.bfloat16)
    assert fast.fingerprint == image_model.fingerprint
    spec = image_model.spec.image
    assert spec
    images = torch.rand(4, *spec.pixel_shape)
    rough, exact = fast.image_logits(images.bfloat16()), image_model.image_logits(images)
    assert rough.dtype == torch.float32
    assert torch.allclose(rough, exact, atol=0.05) and not torch.equal(rough, exact)
    image_model.verify()


@pytest.mark.parametrize("held", [threading.Lock(), torch.ones(1, requires_grad=True) * 2], ids=["lock", "computed"])
def test_a_network_that_cannot_be_copied_is_refused_in_words(held: object) -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 3))
    network.held = held  # type: ignore[assignment]
    with pytest.raises(ModelError, match="cannot be copied"):
        accelerate(network)
