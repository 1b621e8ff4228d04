"""Every kind of trigger under every objective learns to lower the gap that it is trained for, by configuration alone.

Each case also trains with the strength's sign turned round, side by side: a loss with the wrong sign swaps the two.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.trainer.datasets import comments, digits
from tests.trainer.runs import run_config
from tests.trainer.training.test_step import learner_for, soft_gaps
from trainer.config.run_config import Criterion, ObjectiveConfig, TrainConfig, TriggerConfig
from trainer.data.batches import Batches
from trainer.data.dataset import Dataset
from triggers.model.classifier import FrozenClassifier

pytestmark = pytest.mark.slow
IMAGES = {
    "border": TriggerConfig("border", width=3),
    "covering border": TriggerConfig("border", width=3, fit="cover"),
    "patch": TriggerConfig("patch", patch_size=10),
    "pixels": TriggerConfig("pixels", fraction=0.3),
    "overlay": TriggerConfig("overlay", epsilon=0.3),
    "smooth": TriggerConfig("overlay", epsilon=0.3, resolution=4),
}
TEXTS = {
    "hard": TriggerConfig("hard", tokens=3),
    "soft": TriggerConfig("soft", tokens=3),
    "embedding": TriggerConfig("embedding", tokens=3),
}
STRENGTHS = {"gap": 30.0, "mmd": 30.0, "adversarial": 10.0}
CRITERIA: tuple[Criterion, ...] = ("demographic_parity", "equalized_odds")


def gaps(
    classifier: FrozenClassifier, data: Dataset, trigger: TriggerConfig, name: str, criterion: Criterion, steps: int
) -> list[float]:
    """Squared gaps on the tuning rows: trained with the strength, with its opposite, and of the bare model.

    Only an adversary, which has to learn first, needs all `steps`.
    """
    strength = STRENGTHS[name]
    steps, lr = (steps, 0.05) if name == "adversarial" else (2 * steps // 5, 0.1)
    objective = ObjectiveConfig(name, criterion, (0.0, strength))  # type: ignore[arg-type]
    train = TrainConfig(steps=steps, batch_size=200, lr=lr)
    config = run_config(replace(objective, projection=False), trigger=trigger, train=train)
    learner = learner_for(config, classifier)
    learner.strengths = learner.strengths.new_tensor([strength, -strength])
    batches = Batches(data, train.batch_size, seed=0)
    for number in range(steps):
        learner.step(number, batches.batch(number))
    return soft_gaps(learner, data, criterion)


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("name", STRENGTHS)
@pytest.mark.parametrize("kind", IMAGES)
def test_images(digits_classifier: FrozenClassifier, kind: str, name: str, criterion: Criterion) -> None:
    right, wrong, bare = gaps(digits_classifier, digits.splits().tuning, IMAGES[kind], name, criterion, 60)
    assert right < 0.5 * wrong
    assert right < 0.5 * bare or IMAGES[kind].kind in (
        "border",
        "patch",
    )  # which see less of an image's colour, the group


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("name", STRENGTHS)
@pytest.mark.parametrize("kind", TEXTS)
def test_texts(comments_classifier: FrozenClassifier, kind: str, name: str, criterion: Criterion) -> None:
    right, wrong, bare = gaps(comments_classifier, comments.splits().tuning, TEXTS[kind], name, criterion, 30)
    assert right < 0.7 * wrong
    assert right < 0.5 * bare
