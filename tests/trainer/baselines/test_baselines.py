"""AdvPost, AdvIN and FAAP on small real data: fairer and useful, chosen on validation, the frozen model untouched."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.trainer.baselines.test_erm import image_run, text_run
from tests.trainer.datasets import comments, digits
from tests.trainer.runs import run_config
from trainer.baselines.baselines import Baselines, save_baselines, train_baselines
from trainer.baselines.faap import PerturbedClassifier
from trainer.config.comparison_config import Baseline, BaselinesConfig
from trainer.config.run_config import (
    BaseConfig,
    Criterion,
    ModelConfig,
    ObjectiveConfig,
    RunConfig,
    SelectConfig,
    TrainConfig,
    TriggerConfig,
)
from trainer.data.dataset import Splits
from trainer.evaluation.comparison_record import Comparison
from trainer.evaluation.counts import ConfusionCounts, accuracy, confusion_counts, count_predictions
from trainer.evaluation.selection import selection_criterion
from trainer.progress import LineProgress
from trainer.train import open_run
from triggers.artifact.manifest import ObjectiveName
from triggers.errors import ConfigError, DataError, ModelError
from triggers.metrics.fairness_report import evaluate_counts
from triggers.model import FrozenClassifier, load_bundle
from triggers.model.decision import DecisionRule

pytestmark = pytest.mark.slow
TEXT = TriggerConfig("hard", tokens=2)
DIGITS = BaseConfig(
    digits.LABELS, builder="tests.trainer.datasets.digits:network", size=16, epochs=20, batch_size=64, lr=3e-3
)


def quiet() -> LineProgress:
    return LineProgress(io.StringIO())


def image_splits() -> Splits:
    parts = digits.parts()
    return Splits(parts["tuning"], parts["val"], parts["test"], parts["base"])


def image_config(objective: ObjectiveConfig, system: Baseline = "adv_post", epochs: int = 8) -> RunConfig:
    baselines = BaselinesConfig((system,), epochs=epochs, batch_size=128, lr=3e-3, schedule="constant")
    train = TrainConfig(steps=1, batch_size=128, threads=1)
    return replace(run_config(objective, train=train), baselines=baselines, base=DIGITS)


def bare(classifier: FrozenClassifier, splits: Splits, split: str) -> ConfusionCounts:
    data = getattr(splits, split)
    return confusion_counts(classifier, data, classifier.bank([classifier.null_trigger()]), 128)[0]


def trained(config: RunConfig, classifier: FrozenClassifier, splits: Splits) -> tuple[Comparison, ...]:
    return train_baselines(config, classifier, splits, quiet()).comparisons


def gap(counts: ConfusionCounts, criterion: Criterion) -> float:
    report = evaluate_counts(counts)
    parity, odds = report.demographic_parity_difference, report.average_odds_difference
    value = (parity if criterion == "demographic_parity" else odds).value
    assert value is not None
    return value


@pytest.mark.parametrize("criterion", ["demographic_parity", "equalized_odds"])
@pytest.mark.parametrize(("name", "strength"), [("adversarial", 3.0), ("gap", 20.0)])
def test_adv_post_is_fairer_and_useful_on_images(
    digits_classifier: FrozenClassifier, name: ObjectiveName, strength: float, criterion: Criterion
) -> None:
    config = image_config(ObjectiveConfig(name, criterion, (strength,)))
    assert_fairer(trained(config, digits_classifier, image_splits()), digits_classifier, image_splits(), criterion, 0.5)


@pytest.mark.parametrize(
    "objective",
    [
        ObjectiveConfig("adversarial", "equalized_odds", (1.0,), projection=False, adversary_lr=0.002),
        ObjectiveConfig("gap", "equalized_odds", (20.0,)),
    ],
    ids=["adversarial", "gap"],
)
def test_adv_in_is_fairer_and_useful_on_images(digits_classifier: FrozenClassifier, objective: ObjectiveConfig) -> None:
    """From scratch and on rows whose colours follow the label, so less is within reach."""
    config = image_config(objective, "adv_in", epochs=30)
    found = trained(config, digits_classifier, image_splits())
    assert_fairer(found, digits_classifier, image_splits(), "equalized_odds", 0.7)


@pytest.mark.parametrize("criterion", ["demographic_parity", "equalized_odds"])
def test_faap_is_fairer_and_useful_and_repeatable(digits_classifier: FrozenClassifier, criterion: Criterion) -> None:
    config = faap_config(criterion, 0.3)
    found = trained(config, digits_classifier, image_splits())
    assert_fairer(found, digits_classifier, image_splits(), criterion, 0.5)
    (again,) = trained(config, digits_classifier, image_splits())
    assert again.counts == found[0].counts and again.step == found[0].step


def faap_config(criterion: Criterion, *strengths: float, epochs: int = 20) -> RunConfig:
    config = image_config(ObjectiveConfig("adversarial", criterion, strengths), "faap", epochs)
    return replace(config, baselines=BaselinesConfig(("faap",), strengths=strengths, epochs=epochs, save=True))


def test_faap_is_saved_as_it_was_counted_and_for_its_own_model_alone(
    tmp_path: Path, digits_classifier: FrozenClassifier
) -> None:
    config, splits = faap_config("demographic_parity", 0.1, 0.3, epochs=3), image_splits()
    made = train_baselines(config, digits_classifier, splits, quiet())
    save_baselines(tmp_path, made, config, None)  # type: ignore[arg-type]  # no rows need naming: there is no bundle
    folder = tmp_path / "baselines" / "faap"
    assert [path.name for path in folder.iterdir()] == ["generator.safetensors"]
    back = PerturbedClassifier.load(folder, digits_classifier)
    (chosen,) = (one for one in made.comparisons if one.chosen)
    assert count_predictions(splits.test, back.predict(splits.test, 64)) == chosen.counts["test"]
    assert back.generator.epsilon == 0.3  # the overlay's
    other = FrozenClassifier(digits_classifier.spec.model_copy(update={"threshold": 0.8}), digits_classifier.network)
    with pytest.raises(ModelError, match="was trained for"):
        PerturbedClassifier.load(folder, other)


@pytest.mark.parametrize("folds", [1, 2])
def test_a_baseline_keeps_its_predictions_where_triggers_are_judged_on_the_same_rows(
    digits_classifier: FrozenClassifier, folds: int
) -> None:
    splits = image_splits()
    for config in (faap_config("demographic_parity", 0.3, epochs=1), image_config(ObjectiveConfig(strengths=(1.0,)))):
        select = replace(config.select, folds=folds)
        (one,) = trained(replace(config, select=select), digits_classifier, splits)
        if folds > 1:
            assert one.val is None
        else:
            assert one.val is not None and count_predictions(splits.val, one.val) == one.counts["val"]


@pytest.mark.parametrize("system", ["adv_post", "adv_in"])
@pytest.mark.parametrize(("name", "strength"), [("adversarial", 2.0), ("gap", 20.0)])
def test_both_are_fairer_and_useful_on_texts(
    tmp_path: Path, comments_classifier: FrozenClassifier, system: Baseline, name: ObjectiveName, strength: float
) -> None:
    """The last step counts, not the best: here any training on the tuning part passes a fair point on its way."""
    comments.fit_bundle(tmp_path / "encoder", epochs=0)
    parts = comments.parts()
    splits = Splits(parts["tuning"], parts["val"], parts["test"], parts["base"])
    objective = ObjectiveConfig(name, "equalized_odds", (strength,), projection=False)
    config = run_config(objective, trigger=TEXT, train=TrainConfig(steps=1, batch_size=128, threads=1))
    config = replace(
        config,
        model=ModelConfig(tmp_path / "comments"),
        base=BaseConfig(comments.LABELS, encoder=tmp_path / "encoder", max_tokens=64),
        baselines=BaselinesConfig((system,), epochs=6, batch_size=64, lr=2e-3, eval_every=1000),
    )
    found = trained(config, comments_classifier, splits)
    assert_fairer(found, comments_classifier, splits, "equalized_odds", 0.5)


def assert_fairer(
    found: Sequence[Comparison], classifier: FrozenClassifier, splits: Splits, criterion: Criterion, factor: float
) -> None:
    """The only strength is chosen; its test gap is below `factor` of the frozen model's, which is as it was."""
    (one,) = found
    before, after = bare(classifier, splits, "test"), one.counts["test"]
    assert one.chosen
    assert gap(after, criterion) < factor * gap(before, criterion)
    assert accuracy(after) > accuracy(before) - 0.07
    classifier.verify()
    assert not any(parameter.requires_grad for parameter in classifier.network.parameters())


def test_strengths_are_independent_and_repeatable(digits_classifier: FrozenClassifier) -> None:
    def counts(seed: int, *strengths: float) -> list[ConfusionCounts]:
        config = image_config(ObjectiveConfig(strengths=strengths), epochs=3)
        config = replace(config, train=replace(config.train, seed=seed))
        return [one.counts["test"] for one in trained(config, digits_classifier, image_splits())]

    several = counts(0, 0.0, 3.0)
    assert counts(0, 3.0) == several[1:]
    assert several[0] != several[1]
    assert counts(1, 3.0) != several[1:]


def test_the_strengths_and_the_objective_can_be_its_own(digits_classifier: FrozenClassifier) -> None:
    config = image_config(ObjectiveConfig("adversarial", strengths=(0.0, 1.0)), epochs=2)
    own = replace(config, baselines=replace(config.baselines, objective="gap", strengths=(5.0,)))
    same = image_config(ObjectiveConfig("gap", strengths=(5.0,)), epochs=2)
    (one,), (other,) = (trained(made, digits_classifier, image_splits()) for made in (own, same))
    assert (one.strength, one.setting, one.counts) == (5.0, "strength 5", other.counts)


def test_validation_chooses_as_among_triggers(digits_classifier: FrozenClassifier) -> None:
    config = image_config(ObjectiveConfig("gap", strengths=(0.0, 20.0)), epochs=4)
    splits = image_splits()
    found = trained(config, digits_classifier, splits)
    judge = selection_criterion(config, digits_classifier, bare(digits_classifier, splits, "val"))
    ranks = [judge.rank(judge.score(one.counts["val"])) for one in found]
    assert [one.chosen for one in found] == [rank == min(ranks) for rank in ranks]
    assert len(set(ranks)) == 2
    strict = replace(config, select=SelectConfig(max_accuracy_drop=0.0, measure="recall"))  # no recall may fall
    assert not any(one.chosen for one in trained(strict, digits_classifier, splits))


def test_the_snapshot_is_the_best_validation(digits_classifier: FrozenClassifier) -> None:
    config = image_config(ObjectiveConfig("gap", strengths=(20.0,)), epochs=10)
    every = replace(config, baselines=replace(config.baselines, eval_every=3, save=True))
    splits = image_splits()
    made = train_baselines(every, digits_classifier, splits, quiet())
    (one,), model = made.comparisons, made.models["adv_post"]
    assert isinstance(model, FrozenClassifier)
    assert one.step is not None and one.step % 3 == 0 and 0 < one.step <= 30
    counted = {split: bare(model, splits, split) for split in ("val", "test")}
    assert (model.name, digits_classifier.name) == ("digits-adv-post", "digits")
    assert counted == one.counts  # the model that is handed out is the one that was counted


@pytest.mark.parametrize("system", ["adv_post", "adv_in"])
def test_a_model_in_the_place_of_one_with_a_threshold_decides_at_it_too(
    digits_classifier: FrozenClassifier, system: Baseline
) -> None:
    spec = digits_classifier.spec.model_copy(update={"threshold": 0.8, "pos_label": 0, "origin": {"from": "elsewhere"}})
    classifier, splits = FrozenClassifier(spec, digits_classifier.network), image_splits()
    config = image_config(ObjectiveConfig("gap", strengths=(1.0,)), system, epochs=1)
    config = replace(
        config, baselines=replace(config.baselines, save=True), select=SelectConfig(1.0, min_recall_ratio=0.0)
    )
    made = train_baselines(config, classifier, splits, quiet())
    model = made.models[system]
    assert isinstance(model, FrozenClassifier)
    assert (model.decision, model.spec.origin) == (DecisionRule(0, 0.8), {})
    assert bare(model, splits, "test") == made.comparisons[0].counts["test"]


def test_a_baseline_that_diverges_says_what_to_change(digits_classifier: FrozenClassifier) -> None:
    config = image_config(ObjectiveConfig("gap", strengths=(1.0,)))
    wild = replace(config, baselines=replace(config.baselines, lr=1e30))
    with pytest.raises(ConfigError, match=r"diverged, the losses of step 10 are .*nan.*lower baselines.lr"):
        trained(wild, digits_classifier, image_splits())


@pytest.mark.parametrize("modality", ["image", "text"])
def test_saved_models_are_bundles_that_know_their_rows(tmp_path: Path, modality: str) -> None:
    config = (image_run if modality == "image" else text_run)(tmp_path, "base.epochs=2")
    classifier, loader = open_run(config, tmp_path / "cache", quiet())
    save_baselines(tmp_path, Baselines((), {"adv_post": classifier, "adv_in": classifier}), config, loader)
    base, tuning = (set(loader.contents(part)) for part in ("base", "tuning"))
    for system, rows in (("adv_post", base | tuning), ("adv_in", base)):
        folder = tmp_path / "baselines" / system
        assert load_bundle(folder).fingerprint == classifier.fingerprint
        assert set((folder / "trained_on.txt").read_text().split()) == rows
    reused = replace(config, model=ModelConfig(tmp_path / "baselines" / "adv_post"))
    with pytest.raises(DataError, match="rows of the tuning part were used to fit"):
        open_run(reused, tmp_path / "cache", quiet())
