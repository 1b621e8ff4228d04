"""The threshold control against a brute-force scan, on two labels and on three."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.bundles import tiny_network
from tests.trainer.datasets import comments, digits
from trainer.baselines.threshold import Margins, margins, nearest_first, thinned
from trainer.data.dataset import Dataset
from trainer.evaluation.counts import ConfusionCounts, confusion_counts, count_predictions
from triggers.model import FrozenClassifier, load_bundle
from triggers.model.bundle import BundleSpec, save_bundle
from triggers.model.reprogram import sweep


def scanned(classifier: FrozenClassifier, data: Dataset, shift: float) -> ConfusionCounts:
    """Counts by adding the shift to every row's logit, as a person would."""
    with torch.no_grad():
        logits = sweep(classifier, data.inputs, classifier.bank([classifier.null_trigger()]))[0].double()
    logits[:, classifier.pos_label] += shift
    return count_predictions(data, logits.argmax(dim=1))


def three_labels(folder: Path, pos_label: int) -> tuple[FrozenClassifier, Dataset]:
    """An unfitted network of three labels on digits; labels by digit order."""
    torch.manual_seed(3)
    spec = {
        "name": "three",
        "modality": "image",
        "labels": ["a", "b", "c"],
        "pos_label": pos_label,
        "loader": {"kind": "factory", "target": "tests.bundles:tiny_network", "kwargs": {"labels": 3}},
        "image": {"size": 16, "mean": [0.5] * 3, "std": [0.25] * 3},
    }
    save_bundle(folder, BundleSpec.model_validate(spec), tiny_network(labels=3).state_dict())
    data = digits.splits().val
    labels = torch.arange(len(data)) % 3
    return load_bundle(folder), Dataset(data.inputs, labels, data.groups, data.ids, ("a", "b", "c"), data.group_names)


@pytest.mark.parametrize("modality", ["image", "text"])
def test_every_cut_equals_a_scan(request: pytest.FixtureRequest, modality: str) -> None:
    name = "digits" if modality == "image" else "comments"
    classifier: FrozenClassifier = request.getfixturevalue(f"{name}_classifier")
    data = (digits if modality == "image" else comments).splits().val
    found = margins(classifier, data, rows=64)
    cuts = found.cuts().tolist()
    for shift in (0.0, *cuts[:: max(1, len(cuts) // 20)], cuts[-1]):
        assert found.counts(shift) == scanned(classifier, data, shift)


@pytest.mark.parametrize("pos_label", [0, 1, 2])
def test_with_three_labels_the_best_other_label_stays(tmp_path: Path, pos_label: int) -> None:
    classifier, data = three_labels(tmp_path, pos_label)
    found = margins(classifier, data, rows=50)
    for shift in found.cuts()[::25].tolist():
        assert found.counts(shift) == scanned(classifier, data, shift)


def test_no_shift_is_the_bare_classifier(digits_classifier: FrozenClassifier) -> None:
    data = digits.splits().test
    bank = digits_classifier.bank([digits_classifier.null_trigger()])
    assert margins(digits_classifier, data, 100).counts(0.0) == confusion_counts(digits_classifier, data, bank, 100)[0]


def by_hand(pos_label: int) -> Margins:
    """Four rows that lack -1, 0, 0 and 2."""
    data = Dataset(
        torch.zeros(4, 3, 1, 1, dtype=torch.uint8),
        torch.tensor([0, 0, 1, 1]),
        torch.tensor([0, 1, 0, 1]),
        (),
        ("no", "yes"),
        ("a", "b"),
    )
    lacking = torch.tensor([-1.0, 0.0, 0.0, 2.0], dtype=torch.float64)
    return Margins(data, lacking, torch.full((4,), 1 - pos_label), pos_label)


def test_cuts_lie_between_the_rows_margins() -> None:
    found = by_hand(1)
    assert found.cuts().tolist() == [-2.0, -0.5, 1.0, 3.0]
    assert found.selection_rates(found.cuts()).tolist() == [0.0, 0.25, 0.75, 1.0]
    assert found.counts(-0.5) == {("a", 0, 1): 1, ("b", 0, 0): 1, ("a", 1, 0): 1, ("b", 1, 0): 1}


def test_a_tie_goes_to_the_lower_label_as_in_argmax() -> None:
    assert by_hand(1).counts(0.0) == {("a", 0, 1): 1, ("b", 0, 0): 1, ("a", 1, 0): 1, ("b", 1, 0): 1}
    assert by_hand(0).counts(0.0) == {("a", 0, 0): 1, ("b", 0, 0): 1, ("a", 1, 0): 1, ("b", 1, 1): 1}


@pytest.mark.parametrize(("rate", "shift"), [(0.0, -2.0), (0.1, -2.0), (0.3, -0.5), (0.7, 1.0), (1.0, 3.0)])
def test_a_share_of_positives_is_matched_by_the_nearest_cut(rate: float, shift: float) -> None:
    assert by_hand(1).matching(rate) == shift


def test_shifts_are_thinned_evenly_and_tried_from_the_smallest() -> None:
    shifts = torch.arange(-3.0, 8.0)
    assert thinned(shifts, 3) == [-3.0, 2.0, 7.0]
    assert thinned(shifts, 100) == shifts.tolist()
    assert nearest_first([-3.0, 2.0, 7.0]) == [0.0, 2.0, -3.0, 7.0]
