"""The controls on small real data: each is what it says, repeats itself, and costs no training."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
import torch

from tests.trainer.datasets import comments, digits
from tests.trainer.runs import run_config
from trainer.baselines.controls import random_triggers, run_controls, strength_zero
from trainer.baselines.threshold import margins
from trainer.config.comparison_config import ControlsConfig
from trainer.config.run_config import ObjectiveConfig, RunConfig, TrainConfig, TriggerConfig
from trainer.data.dataset import Splits
from trainer.evaluation.comparison_record import Comparison
from trainer.evaluation.counts import ConfusionCounts, accuracy, confusion_counts
from trainer.evaluation.run_result import TrainingResult
from trainer.evaluation.selection import SelectionCriterion
from trainer.progress import LineProgress
from trainer.training.trigger_training import train_triggers
from triggers.model.classifier import FrozenClassifier
from triggers.trigger.image import ImageTrigger, shrink_and_centre
from triggers.trigger.text import TextTrigger

pytestmark = pytest.mark.slow
SHORT = TrainConfig(steps=4, batch_size=128, threads=1)


def quiet() -> LineProgress:
    return LineProgress(io.StringIO())


def config_for(trigger: TriggerConfig, **controls: int | bool) -> RunConfig:
    made = run_config(ObjectiveConfig("gap", strengths=(1.0, 20.0)), trigger=trigger, train=SHORT)
    return replace(made, controls=ControlsConfig(**controls))  # type: ignore[arg-type]


def controlled(
    config: RunConfig, classifier: FrozenClassifier, splits: Splits
) -> tuple[TrainingResult, list[Comparison]]:
    outcome = train_triggers(config, classifier, splits, quiet())
    return outcome, list(run_controls(config, classifier, splits, outcome, quiet()))


def of(system: str, found: list[Comparison]) -> list[Comparison]:
    return [one for one in found if one.system == system]


def selected(counts: ConfusionCounts) -> float:
    return sum(n for (_, _, prediction), n in counts.items() if prediction == 1) / sum(counts.values())


@pytest.fixture(scope="module")
def overlay(digits_classifier: FrozenClassifier) -> tuple[TrainingResult, list[Comparison]]:
    return controlled(config_for(TriggerConfig("overlay", epsilon=0.3)), digits_classifier, digits.splits())


def test_every_control_is_counted_on_whole_splits(overlay: tuple[TrainingResult, list[Comparison]]) -> None:
    outcome, found = overlay
    assert {one.system for one in found} == {"threshold", "threshold_matched", "constant", "random"}
    for one in found:
        assert {split: sum(counts.values()) for split, counts in one.counts.items()} == {"val": 350, "test": 347}
    assert outcome.comparisons == ()


def test_the_best_threshold_is_the_best_of_a_full_scan(digits_classifier: FrozenClassifier) -> None:
    config = config_for(TriggerConfig("overlay"), thresholds=10_000)
    splits = digits.splits()
    outcome, found = controlled(config, digits_classifier, splits)
    judge = SelectionCriterion(outcome.bare["val"], "demographic_parity", config.select, 1, 2)
    part = margins(digits_classifier, splits.val, 350)
    ranks = [judge.rank(judge.score(part.counts(shift))) for shift in (0.0, *part.cuts().tolist())]
    (best,) = (one for one in of("threshold", found) if one.chosen)
    assert judge.rank(judge.score(best.counts["val"])) == min(ranks)
    assert judge.affordable(judge.score(best.counts["val"]))


def test_the_curve_runs_from_nobody_to_everybody(overlay: tuple[TrainingResult, list[Comparison]]) -> None:
    outcome, found = overlay
    curve = of("threshold", found)
    shares = [selected(one.counts["val"]) for one in curve]
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    assert shares == sorted(shares)
    assert 25 <= len(curve) <= 27
    assert sum(one.chosen for one in curve) == 1
    assert outcome.bare in [one.counts for one in curve]  # no shift is one of them


def test_the_matched_threshold_has_the_triggers_share_of_positives(
    overlay: tuple[TrainingResult, list[Comparison]],
) -> None:
    outcome, found = overlay
    matched = of("threshold_matched", found)
    assert [one.strength for one in matched] == [candidate.strength for candidate in outcome.candidates]
    for at, (one, candidate) in enumerate(zip(matched, outcome.candidates, strict=True)):
        assert selected(one.counts["val"]) == pytest.approx(selected(candidate.counts["val"]), abs=1 / 350)
        assert one.chosen == (at == outcome.best)


def test_the_constant_predictor_says_the_tuning_parts_commonest_label(digits_classifier: FrozenClassifier) -> None:
    splits = digits.splits()
    rare = splits.tuning.take((splits.tuning.labels == 1).nonzero().squeeze(1))
    for tuning, label in ((splits.tuning, 0), (rare, 1)):
        config = config_for(TriggerConfig("overlay"), random=0)
        outcome, _ = controlled(config, digits_classifier, splits)
        changed = replace(splits, tuning=tuning)
        (one,) = of("constant", list(run_controls(config, digits_classifier, changed, outcome, quiet())))
        assert one.setting == f"always {digits.LABELS[label]}"
        assert {prediction for (_, _, prediction) in one.counts["test"]} == {label}
        assert accuracy(one.counts["test"]) == pytest.approx((splits.test.labels == label).float().mean().item())


@pytest.mark.parametrize(
    "trigger",
    [
        TriggerConfig("border", width=3),
        TriggerConfig("patch", patch_size=6),
        TriggerConfig("overlay", epsilon=0.3),
        TriggerConfig("pixels", fraction=0.2),
    ],
    ids=lambda trigger: trigger.kind,
)
def test_random_images_fill_the_kinds_range_and_follow_their_seed(
    digits_classifier: FrozenClassifier, trigger: TriggerConfig
) -> None:
    config = config_for(trigger)
    first, again = (random_triggers(config, digits_classifier) for _ in range(2))
    other = random_triggers(replace(config, train=replace(SHORT, seed=1)), digits_classifier)
    assert [name for name, _ in first] == ["seed 1000", "seed 1001", "seed 1002"]
    deltas = []
    for (_, one), (_, same), (_, different) in zip(first, again, other, strict=True):
        assert isinstance(one, ImageTrigger) and isinstance(same, ImageTrigger) and isinstance(different, ImageTrigger)
        one.validate()
        assert one.kind == trigger.kind
        assert torch.equal(one.delta, same.delta) and torch.equal(one.keep, same.keep)
        assert not torch.equal(one.delta, different.delta)
        deltas.append(one.delta)
    assert not torch.equal(deltas[0], deltas[1])
    changed = deltas[0][deltas[0] != 0]
    low, high = (-0.3, 0.3) if trigger.kind == "overlay" else (0.0, 1.0)
    spread = high - low
    assert low <= changed.min() < low + 0.1 * spread
    assert high - 0.1 * spread < changed.max() <= high


def test_random_texts_are_allowed_words(comments_classifier: FrozenClassifier) -> None:
    config = config_for(TriggerConfig("hard", tokens=2))
    (_, first), (_, second), _ = random_triggers(config, comments_classifier)
    assert isinstance(first, TextTrigger) and isinstance(second, TextTrigger)
    assert first.words and len(first.words) == 2 and all(word.isalpha() for word in first.words)
    assert first.words != second.words


def test_random_triggers_are_counted(digits_classifier: FrozenClassifier) -> None:
    config, splits = config_for(TriggerConfig("overlay", epsilon=0.3), random=2), digits.splits()
    _, found = controlled(config, digits_classifier, splits)
    bank = digits_classifier.bank([trigger for _, trigger in random_triggers(config, digits_classifier)])
    expected = confusion_counts(digits_classifier, splits.test, bank, 64)
    assert [one.counts["test"] for one in of("random", found)] == expected
    assert not any(one.chosen for one in of("random", found))


def test_the_border_is_charged_for_shrinking_alone(digits_classifier: FrozenClassifier) -> None:
    splits = digits.splits()
    _, found = controlled(config_for(TriggerConfig("border", width=3)), digits_classifier, splits)
    (one,) = of("shrink", found)
    assert one.setting == "to 10 of 16 pixels"
    assert isinstance(splits.test.inputs, torch.Tensor)
    shrunk = shrink_and_centre(splits.test.inputs.float() / 255, 10)
    with torch.no_grad():
        predictions = digits_classifier.image_logits(shrunk).argmax(dim=1)
    right = (predictions == splits.test.labels).float().mean().item()
    assert accuracy(one.counts["test"]) == pytest.approx(right)
    assert one.counts["test"] != of("threshold", found)[0].counts["test"]


@pytest.mark.parametrize(
    "trigger",
    [
        TriggerConfig("patch", patch_size=6),
        TriggerConfig("pixels", fraction=0.2),
        TriggerConfig("border", width=3, fit="cover"),
    ],
    ids=lambda trigger: trigger.kind,
)
def test_what_shrinks_nothing_is_shown_in_black(digits_classifier: FrozenClassifier, trigger: TriggerConfig) -> None:
    splits = digits.splits()
    outcome, found = controlled(config_for(trigger), digits_classifier, splits)
    assert not of("shrink", found)
    (one,) = of("black", found)
    assert one.setting == trigger.kind
    trained = outcome.candidates[outcome.best or 0].trigger
    assert isinstance(trained, ImageTrigger)
    black = replace(trained, delta=torch.zeros_like(trained.delta))
    expected = confusion_counts(digits_classifier, splits.test, digits_classifier.bank([black]), 64)
    assert [one.counts["test"]] == expected


def test_texts_have_no_blank_control(comments_classifier: FrozenClassifier) -> None:
    config = config_for(TriggerConfig("soft", tokens=2), random=1)
    _, found = controlled(config, comments_classifier, comments.splits())
    assert {one.system for one in found} == {"threshold", "threshold_matched", "constant", "random"}


def test_strength_zero_is_utility_alone(digits_classifier: FrozenClassifier) -> None:
    """Whatever the objective: no adversary, no projection, no weights of rows."""
    splits = digits.splits()
    fair = run_config(ObjectiveConfig("adversarial", strengths=(5.0,), reweigh=True), train=SHORT)
    plain = replace(fair, objective=ObjectiveConfig("gap", strengths=(0.0,)))
    one = strength_zero(fair, digits_classifier, splits, quiet())
    assert one.counts == train_triggers(plain, digits_classifier, splits, quiet()).candidates[0].counts
    assert (one.strength, one.step is not None, one.chosen) == (0.0, True, True)


def test_controls_can_be_left_out(digits_classifier: FrozenClassifier) -> None:
    _, found = controlled(config_for(TriggerConfig("overlay"), enabled=False), digits_classifier, digits.splits())
    assert found == []
    _, found = controlled(config_for(TriggerConfig("overlay"), strength_zero=True), digits_classifier, digits.splits())
    assert len(of("strength_zero", found)) == 1
