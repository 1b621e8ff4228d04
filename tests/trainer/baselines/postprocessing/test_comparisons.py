"""Post-processing of real small models beside their triggers: what it sees, how it is chosen, what is left out."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.trainer.datasets import comments, digits, many_groups
from tests.trainer.runs import run_config
from trainer.baselines.controls import run_postprocessing
from trainer.baselines.postprocessing.comparisons import POSTPROCESSORS, postprocessing_comparisons
from trainer.baselines.postprocessing.frozen_outputs import FrozenOutputs
from trainer.baselines.postprocessing.hardt import GAPS
from trainer.baselines.postprocessing.record import PostProcessing
from trainer.baselines.postprocessing.rule import FeatureOffset
from trainer.config.comparison_config import ControlsConfig
from trainer.config.run_config import ObjectiveConfig, RunConfig, SelectConfig, TrainConfig, TriggerConfig
from trainer.data.dataset import Splits
from trainer.evaluation.comparison_record import Comparison
from trainer.evaluation.counts import count_predictions
from trainer.evaluation.recommendation import RULES, best_trigger
from trainer.evaluation.run_result import TrainingResult
from trainer.progress import LineProgress
from trainer.training.trigger_training import train_triggers
from triggers.model.classifier import FrozenClassifier

pytestmark = pytest.mark.slow
SHORT = TrainConfig(steps=2, batch_size=128, threads=1)
QUIET = LineProgress(StringIO())


def config_for(select: SelectConfig | None = None, trigger: TriggerConfig | None = None) -> RunConfig:
    objective = ObjectiveConfig("gap", strengths=(1.0,))
    return run_config(objective, trigger=trigger or TriggerConfig("overlay", epsilon=0.3), train=SHORT, select=select)


def processed(config: RunConfig, classifier: FrozenClassifier, splits: Splits) -> tuple[TrainingResult, PostProcessing]:
    outcome = train_triggers(config, classifier, splits, QUIET)
    return outcome, postprocessing_comparisons(config, classifier, splits, outcome)


def of(system: str, found: PostProcessing) -> list[Comparison]:
    return [one for one in found.comparisons if one.system == system]


@pytest.fixture(scope="module")
def tinted(digits_classifier: FrozenClassifier) -> tuple[TrainingResult, PostProcessing]:
    return processed(config_for(), digits_classifier, digits.splits())


def test_frozen_outputs_are_what_counts_see(
    digits_classifier: FrozenClassifier, comments_classifier: FrozenClassifier
) -> None:
    for classifier, data in ((digits_classifier, digits.splits().val), (comments_classifier, comments.splits().val)):
        outputs = FrozenOutputs.of(classifier, data, 100)
        head = [layer for layer in classifier.network.modules() if isinstance(layer, torch.nn.Linear)][-1]
        assert outputs.features.shape == (len(data), head.in_features)
        assert torch.nn.functional.linear(outputs.features, head.weight, head.bias) == pytest.approx(
            outputs.logits, abs=1e-4
        )
        assert torch.equal(outputs.predictions, outputs.logits.argmax(dim=1))
        few = outputs.take(torch.tensor([5, 2]))
        assert torch.equal(few.features, outputs.features[[5, 2]]) and len(few) == 2
        twice = few.followed_by(few)
        assert torch.equal(twice.data.labels, data.labels[[5, 2, 5, 2]])


def test_every_method_is_counted_on_both_splits_and_chosen_on_validation(
    tinted: tuple[TrainingResult, PostProcessing],
) -> None:
    outcome, found = tinted
    assert found.notes == ()
    assert outcome.judge
    for system in POSTPROCESSORS:
        own = of(system, found)
        (chosen,) = (at for at, one in enumerate(own) if one.chosen)
        vals = {at: one.val for at, one in enumerate(own) if one.val is not None}
        records = [one.selection for one in own if one.selection]
        assert len(vals) == len(records) == len(own)
        best = best_trigger(outcome.judge, vals, records)
        assert best in (None, chosen)
        for one in own:
            assert {split: sum(counts.values()) for split, counts in one.counts.items()} == {"val": 350, "test": 347}
            assert one.val is not None and one.counts["val"] == outcome.judge.rows.counts(one.val)


def test_groups_that_are_known_or_read_from_features_take_the_gap_away(
    tinted: tuple[TrainingResult, PostProcessing],
) -> None:
    outcome, found = tinted
    assert outcome.judge
    bare = outcome.judge.criterion.bare.gap
    assert bare and bare > 0.2
    for system in ("hardt", "oxonfair"):
        gaps = [outcome.judge.criterion.score(one.counts["test"]).gap for one in of(system, found)]
        assert gaps[-1] is not None and gaps[-1] < bare / 2
    assert [one.strength for one in of("hardt", found)] == list(GAPS)


def test_certified_rules_passed_in_their_order_with_a_share_of_delta(
    tinted: tuple[TrainingResult, PostProcessing],
) -> None:
    outcome, found = tinted
    methods = [system for system in POSTPROCESSORS if system in RULES]
    assert outcome.judge
    for system in methods:
        families: dict[str, list[Comparison]] = {}
        for one in of(system, found):
            anchor = one.setting.partition(",")[0]  # FRAPPE has two families, named by what they stay close to
            families.setdefault(anchor if system == "frappe" else system, []).append(one)
        delta = outcome.judge.criterion.select.delta / len(methods) / len(families)
        for family in families.values():
            open_order = True
            for one in family:
                assert one.val is not None and one.selection and one.selection.delta == pytest.approx(delta)
                open_order = open_order and outcome.judge.p_value(one.val) <= delta
                assert one.selection.status != "certified" or open_order
        assert len(families) == (2 if system == "frappe" else 1)
    assert all(one.selection and one.selection.status != "certified" for one in of("hardt", found))


def test_the_saved_tensors_are_the_chosen_rule(
    digits_classifier: FrozenClassifier, tinted: tuple[TrainingResult, PostProcessing], tmp_path: Path
) -> None:
    _, found = tinted
    found.save(tmp_path)
    saved = load_file(tmp_path / "postprocessing" / "oxonfair.safetensors")
    test = FrozenOutputs.of(digits_classifier, digits.splits().test, 100)
    predicted = FeatureOffset(saved["weight"], saved["bias"]).predict(test)
    (chosen,) = (one for one in of("oxonfair", found) if one.chosen)
    assert chosen.strength is not None and chosen.strength > 0
    assert count_predictions(test.data, predicted) == chosen.counts["test"]
    by_hand = (test.logits + test.features @ saved["weight"].T + saved["bias"]).argmax(dim=1)
    assert (by_hand == predicted).float().mean() > 0.99


def test_cross_fitted_rules_are_judged_on_rows_that_they_were_not_fitted_on(
    digits_classifier: FrozenClassifier,
) -> None:
    config, splits = config_for(SelectConfig(max_accuracy_drop=0.03, folds=3)), digits.splits()
    outcome, found = processed(config, digits_classifier, splits)
    assert outcome.judge and len(outcome.judge.rows) == 700
    (one, *_) = of("oxonfair", found)[-1:]
    assert one.val is not None and sum(one.counts["val"].values()) == 700
    pool = FrozenOutputs.of(digits_classifier, splits.tuning, 100).followed_by(
        FrozenOutputs.of(digits_classifier, splits.val, 100)
    )
    assert torch.equal(pool.data.labels, outcome.judge.rows.labels)
    assert torch.equal(pool.predictions, outcome.judge.rows.bare.long())
    from trainer.baselines.postprocessing.rule import FitTarget

    target = FitTarget("demographic_parity", config.select.measure, 1)
    on_all = POSTPROCESSORS["oxonfair"](pool, target)[-1].rule.predict(pool)
    assert (on_all != one.val).float().mean() > 0.01


def test_what_a_method_is_not_made_for_is_left_out_with_a_reason(tmp_path: Path) -> None:
    classifier, splits = many_groups.fitted("three", tmp_path / "three"), many_groups.splits("three")
    _, found = processed(config_for(), classifier, splits)
    assert of("hardt", found) and not of("oxonfair", found)
    assert "Not compared: OxonFair needs two groups, there are 3." in found.notes
    classifier, splits = many_groups.fitted("four", tmp_path / "four"), many_groups.splits("four")
    _, found = processed(config_for(), classifier, splits)
    assert not of("hardt", found)
    assert any(note.endswith("needs a model of two labels, this one has 4.") for note in found.notes)


def test_groups_that_overlap_leave_out_all_of_them(tmp_path: Path) -> None:
    classifier, splits = many_groups.fitted("overlap", tmp_path / "overlap"), many_groups.splits("overlap")
    config = config_for()
    config = replace(config, data=replace(config.data, groups_overlap=True, group=("tinted", "framed")))
    _, found = processed(config, classifier, splits)
    assert (found.comparisons, len(found.notes)) == ((), 1)
    assert found.notes[0].endswith("post-processing needs groups that do not overlap.")


def test_it_is_switched_off_by_either_key(
    digits_classifier: FrozenClassifier, tinted: tuple[TrainingResult, PostProcessing]
) -> None:
    outcome, _ = tinted
    for controls in (ControlsConfig(postprocessing=False), ControlsConfig(enabled=False)):
        config = replace(config_for(), controls=controls)
        assert run_postprocessing(config, digits_classifier, digits.splits(), outcome, QUIET).comparisons == ()
    assert run_postprocessing(config_for(), digits_classifier, digits.splits(), outcome, QUIET).comparisons
