"""The comparison sees every difference between a bundle and its source, alone and in company."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from triggers.errors import ModelError
from triggers.model import FrozenClassifier, scores, sweep
from triggers.sources.builtin_inputs import builtin_images, builtin_texts
from triggers.sources.oracles import Oracle, RawInput
from triggers.sources.source_comparison import compare


def own(classifier: FrozenClassifier, given: RawInput) -> list[float]:
    """The classifier's own scores."""
    batch = classifier.batch([classifier.preprocess(given)])
    rows: list[list[float]] = scores(sweep(classifier, batch, classifier.bank([classifier.null_trigger()]))[0]).tolist()
    return rows[0]


@pytest.mark.parametrize("modality", ["image", "text"])
def test_nothing_differs_from_itself(
    modality: str, image_model: FrozenClassifier, text_model: FrozenClassifier
) -> None:
    classifier = image_model if modality == "image" else text_model
    inputs: Sequence[RawInput] = builtin_images(12) if modality == "image" else builtin_texts(12)
    parts: list[tuple[int, int]] = []
    oracle = Oracle("itself", lambda one: own(classifier, one))
    record = compare(classifier, oracle, inputs, progress=lambda *now: parts.append(now))
    assert record.inputs == 12 and record.flips == 0 and record.largest_difference < 1e-6
    selected = [own(classifier, one)[1] for one in inputs]
    assert record.spread == pytest.approx(max(selected) - min(selected))
    assert parts == [(n, 26) for n in range(1, 27)]  # sources, each alone, two batches


def test_one_input_that_differs_is_counted_once(image_model: FrozenClassifier) -> None:
    images = builtin_images(9)

    def turned(one: RawInput) -> list[float]:
        found = own(image_model, one)
        return found[::-1] if one == images[4] else found

    record = compare(image_model, Oracle("turned", turned), images)
    first, second = own(image_model, images[4])
    assert record.flips == 1 and record.largest_difference == pytest.approx(abs(first - second), abs=1e-6)


def test_a_score_that_is_no_number_is_no_agreement(image_model: FrozenClassifier) -> None:
    with pytest.raises(ModelError, match="nowhere gives input 0 of the comparison a score that is no number"):
        compare(image_model, Oracle("nowhere", lambda _one: [float("nan")] * 2), builtin_images(2))


def test_an_input_that_one_of_both_refuses_is_named(image_model: FrozenClassifier) -> None:
    def fails(_one: RawInput) -> list[float]:
        raise RuntimeError("out of\npaper")

    with pytest.raises(ModelError, match="Input 1 of the comparison is refused"):
        compare(image_model, Oracle("own", lambda one: own(image_model, one)), [*builtin_images(1), b"no image"])
    with pytest.raises(ModelError, match="own does not answer input 0 of the comparison: RuntimeError: out of paper"):
        compare(image_model, Oracle("own", fails), builtin_images(2))
