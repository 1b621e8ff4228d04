"""The group probe: a convex fit that agrees with scikit-learn's, on the features that the frozen network really has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.bundles import torchvision_bundle
from tests.trainer.datasets import comments, digits
from tests.triggers.model.networks.onnx_network.graphs import model_of, node, numbers, saved
from trainer.data.dataset import Dataset
from trainer.evaluation.group_probe import PENALTY, balanced_accuracy, fit_probe
from trainer.evaluation.network_outputs import captured_features, feature_layer, last_linear, network_outputs
from triggers.model import FrozenClassifier, load_bundle
from triggers.model.head import ProbabilitiesHead
from triggers.model.networks.exported_program import load_exported
from triggers.model.networks.onnx_network import load_onnx


def blobs(seed: int, far: float, sizes: tuple[int, ...] = (300, 80, 40)) -> tuple[torch.Tensor, torch.Tensor]:
    """Three groups of unequal size around corners of a cube."""
    draw = torch.Generator().manual_seed(seed)
    groups = torch.cat([torch.full((n,), group) for group, n in enumerate(sizes)])
    centres = far * torch.eye(3, 5)
    return centres[groups] + torch.randn(len(groups), 5, generator=draw) * torch.tensor([1, 2, 3, 1, 10]), groups


def test_agrees_with_scikit_learn() -> None:
    from sklearn.linear_model import LogisticRegression

    features, groups = blobs(0, 2.0)
    probe = fit_probe(features, groups, 3)
    scaled = ((features.double() - probe.centre) / probe.scale).numpy()
    known = LogisticRegression(C=1 / (PENALTY * len(groups)), class_weight="balanced", tol=1e-8, max_iter=1000)
    known.fit(scaled, groups.numpy())
    assert np.allclose(probe.posterior(features).numpy(), known.predict_proba(scaled), atol=1e-4)


def test_says_nothing_where_there_is_nothing_to_read() -> None:
    features, groups = blobs(1, 0.0)
    fresh, _ = blobs(2, 0.0)
    found = balanced_accuracy(fit_probe(features, groups, 3).posterior(fresh), groups)
    assert found["low"] < 1 / 3 < found["high"]
    constant = fit_probe(torch.ones(len(groups), 4), groups, 3).posterior(torch.ones(1, 4))
    assert torch.allclose(constant, torch.full((1, 3), 1 / 3, dtype=torch.float64), atol=1e-6)


def test_balanced_accuracy_by_hand() -> None:
    groups = torch.tensor([0] * 8 + [1] * 2)
    posterior = torch.nn.functional.one_hot(torch.tensor([0] * 8 + [0, 1]), 2).double()
    found = balanced_accuracy(posterior, groups)
    assert (found["value"], found["n"]) == (0.75, 10)  # (8/8 + 1/2) / 2, not 9/10
    assert found["low"] < 0.75 < found["high"]


@pytest.mark.parametrize("rows", [16, 400])
def test_features_are_the_input_of_the_last_layer(
    digits_classifier: FrozenClassifier, comments_classifier: FrozenClassifier, rows: int
) -> None:
    for classifier, data in ((digits_classifier, digits.splits().val), (comments_classifier, comments.splits().val)):
        head = last_linear(classifier.network, (2, 1))
        assert head is not None
        null = classifier.null_trigger()
        one, two = network_outputs(classifier, data, [null, null], rows)
        assert torch.equal(one.features, two.features)
        assert len(one.features) == len(data)
        assert torch.allclose(head(one.features), one.logits, atol=1e-4)
        assert not head._forward_pre_hooks
        classifier.verify()


def test_captured_features_are_differentiable_and_of_the_last_pass(digits_classifier: FrozenClassifier) -> None:
    head = last_linear(digits_classifier.network, (2, 1))
    assert head is not None
    images = torch.rand(5, 3, 16, 16, requires_grad=True)
    with captured_features(digits_classifier) as features_of:
        digits_classifier.image_logits(images[:2])
        logits = digits_classifier.image_logits(images)
        features = features_of(logits)
    assert torch.allclose(head(features), logits)
    assert torch.autograd.grad(features.sum(), images)[0].abs().max() > 0
    assert not head._forward_pre_hooks


def test_features_belong_to_their_rows(comments_classifier: FrozenClassifier) -> None:
    data, null = comments.splits().val, comments_classifier.null_trigger()
    (together,) = network_outputs(comments_classifier, data, [null], 64)
    (alone,) = network_outputs(comments_classifier, data.take(torch.tensor([123])), [null], 1)
    assert torch.allclose(together.features[123], alone.features[0], atol=1e-4)


def test_a_network_without_a_linear_head_gives_its_logits(digits_classifier: FrozenClassifier) -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 16), nn.Flatten())
    classifier = FrozenClassifier(digits_classifier.spec, network)
    assert last_linear(network, (2, 1)) is None
    (seen,) = network_outputs(classifier, digits.splits().val, [classifier.null_trigger()], 64)
    assert torch.equal(seen.features, seen.logits)


def test_a_torchvision_network(tmp_path: Path) -> None:
    classifier = load_bundle(torchvision_bundle(tmp_path))
    labels = torch.zeros(4, dtype=torch.long)
    data = Dataset(torch.zeros(4, 3, 32, 32, dtype=torch.uint8), labels, labels, (), ("no", "yes"), ("g",))
    (seen,) = network_outputs(classifier, data, [classifier.null_trigger()], 3)
    assert seen.features.shape == (4, 512)


def test_features_of_an_exported_program_are_what_its_last_layer_reads(
    digits_classifier: FrozenClassifier, tmp_path: Path
) -> None:
    rows = torch.export.Dim("rows")
    program = torch.export.export(digits_classifier.network, (torch.rand(2, 3, 16, 16),), dynamic_shapes=({0: rows},))
    torch.export.save(program, tmp_path / "model.pt2")
    data, null = digits.splits().val, digits_classifier.null_trigger()
    (known,) = network_outputs(digits_classifier, data, [null], 64)
    classifier = FrozenClassifier(digits_classifier.spec, load_exported(tmp_path / "model.pt2"))
    assert feature_layer(classifier) is None
    (seen,) = network_outputs(classifier, data, [null], 64)
    assert seen.features.shape == known.features.shape != known.logits.shape
    assert torch.allclose(seen.features, known.features, atol=1e-4)


def test_features_of_an_onnx_graph_are_what_its_last_product_reads(
    digits_classifier: FrozenClassifier, tmp_path: Path
) -> None:
    nodes = [node("Flatten", "x", "flat"), node("MatMul", "flat first", "hidden"), node("Relu", "hidden", "seen")]
    nodes += [node("Gemm", "seen second bias", "logits"), node("Softmax", "logits", "y")]
    first, second, bias = numbers(768, 5), numbers(5, 2), numbers(2)
    stored = {"first": first / 100, "second": second, "bias": bias}
    path = saved(tmp_path / "model.onnx", model_of(nodes, stored, shape=("N", 3, 16, 16)))
    spec = digits_classifier.spec.model_copy(update={"head": ProbabilitiesHead()})
    classifier = FrozenClassifier(spec, load_onnx(path))
    (seen,) = network_outputs(classifier, digits.splits().val, [classifier.null_trigger()], 64)
    assert seen.features.shape[1] == 5
    logits = (seen.features @ torch.from_numpy(second) + torch.from_numpy(bias)).log_softmax(dim=1)
    assert torch.allclose(logits, seen.logits, atol=1e-4)
