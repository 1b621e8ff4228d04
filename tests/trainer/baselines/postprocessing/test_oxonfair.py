"""OxonFair's rule against the package's own answers on a small case, and the group head that it searches with.

The case and the package's figures were made by
`python -m benchmarks.postprocessing_oracles tests/trainer/baselines/postprocessing/oxonfair_case.json`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.trainer.baselines.postprocessing.frozen import frozen
from trainer.baselines.postprocessing.frozen_outputs import FrozenOutputs
from trainer.baselines.postprocessing.oxonfair import (
    REMOVED,
    best_within,
    figures,
    fit_group_head,
    fit_oxonfair,
    merged_heads,
)
from trainer.baselines.postprocessing.rule import FeatureOffset, FitTarget, UnsupportedDataError

CASE = Path(__file__).with_name("oxonfair_case.json")
ODDS = FitTarget("equalized_odds", "accuracy", 1)


def case() -> dict[str, Any]:
    return dict(json.loads(CASE.read_text()))


def outputs_of(facts: dict[str, Any]) -> FrozenOutputs:
    return frozen(facts["scores"], facts["labels"], facts["groups"], facts["features"])


@pytest.mark.parametrize("criterion", ["demographic_parity", "equalized_odds"])
def test_the_packages_merged_heads_decide_here_as_they_do_there(criterion: str) -> None:
    facts = case()
    head = torch.tensor(facts["head"])[:, None]  # the only feature
    outputs = frozen(facts["scores"], facts["labels"], facts["groups"], head)
    assert facts["oxonfair"][criterion]
    for one in facts["oxonfair"][criterion]:
        rule = FeatureOffset(torch.tensor([[0.0], [one["coefficient"]]]), torch.tensor([0.0, one["bias"]]))
        predicted = rule.predict(outputs)
        assert "".join(map(str, predicted.tolist())) == one["predictions"]
        assert (predicted == outputs.data.labels).double().mean().item() == pytest.approx(one["accuracy"])


@pytest.mark.parametrize("criterion", ["demographic_parity", "equalized_odds"])
def test_the_search_is_nowhere_behind_the_packages_front(criterion: Any) -> None:
    facts = case()
    scores, head, labels, groups = (np.array(facts[name]) for name in ("scores", "head", "labels", "groups"))
    heads = merged_heads(scores, head, labels == 1, groups == 1, FitTarget(criterion, "accuracy", 1))
    for one in facts["oxonfair"][criterion]:
        coefficient, shift, _, gap = best_within(heads, one["reached"])
        selected = scores + coefficient * head + shift > 0
        assert gap <= one["reached"] + 1e-12
        assert (selected == (labels == 1)).mean() >= one["accuracy"]


def test_what_the_search_says_of_a_head_is_what_its_answers_are() -> None:
    facts = case()
    scores, head, labels, groups = (np.array(facts[name]) for name in ("scores", "head", "labels", "groups"))
    for target in (ODDS, FitTarget("demographic_parity", "balanced_accuracy", 1)):
        heads = merged_heads(scores, head, labels == 1, groups == 1, target)
        for coefficient, shift, gain, gap in heads[:: len(heads) // 50]:
            answers = scores + coefficient * head + shift > 0
            assert figures(answers, labels == 1, groups == 1, target) == pytest.approx((gain, gap))


def test_the_group_head_leaves_rows_out_as_fitting_without_them_does() -> None:
    random = torch.Generator().manual_seed(0)
    features, groups = torch.randn(40, 5, generator=random), torch.arange(40).double() % 2
    features[:, 0] += groups
    head = fit_group_head(features, groups)
    centred = features.double() - features.double().mean(dim=0)
    energy = centred.square().sum() / 5
    penalties = [float(p * energy) for p in (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)]
    by_hand = [_left_out(features.double(), groups, penalty) for penalty in penalties]
    errors = [float((groups - one).square().mean()) for one in by_hand]
    assert head.left_out == pytest.approx(by_hand[errors.index(min(errors))], abs=1e-6)


def _left_out(features: torch.Tensor, groups: torch.Tensor, penalty: float) -> torch.Tensor:
    """Ridge regression with a free intercept, fitted anew without each row."""
    said = []
    for row in range(len(groups)):
        rest = torch.arange(len(groups)) != row
        inputs = torch.cat([features[rest], torch.ones(len(groups) - 1, 1)], dim=1)
        inputs[:, -1] = 1
        ridge = penalty * torch.eye(inputs.shape[1]).double()
        ridge[-1, -1] = 0
        fitted = torch.linalg.solve(inputs.T @ inputs + ridge, inputs.T @ groups[rest])
        said.append(features[row] @ fitted[:-1] + fitted[-1])
    return torch.stack(said)


def test_the_rule_takes_the_gap_away_on_rows_that_it_never_saw_and_asks_for_no_group() -> None:
    random = np.random.default_rng(3)
    groups = random.integers(0, 2, 3000)
    labels = (random.random(3000) < np.where(groups == 1, 0.35, 0.6)).astype(int)
    features = random.normal(size=(3000, 40))
    features[:, 0] += 2.5 * groups
    features[:, 1] += 1.5 * labels
    outputs = frozen(1.5 * features[:, 1] - 0.8 * features[:, 0] + 0.2, labels, groups, features)
    tuning, new = (outputs.take(torch.arange(3000)[part]) for part in (slice(1500), slice(1500, None)))
    rules = fit_oxonfair(tuning, ODDS)
    assert [one.strength for one in rules] == list(REMOVED)
    positive, second = (new.data.labels == 1).numpy(), (new.data.groups == 1).numpy()
    bare = figures(new.predictions.numpy() == 1, positive, second, ODDS)[1]
    gaps = [figures(one.rule.predict(new).numpy() == 1, positive, second, ODDS)[1] for one in rules]
    assert bare > 0.2
    assert gaps[-1] < bare / 3
    unknown = frozen(new.logits, new.data.labels, np.zeros(1500), new.features)
    assert torch.equal(rules[-1].rule.predict(unknown), rules[-1].rule.predict(new))


def test_data_that_it_is_not_made_for_is_refused_in_words() -> None:
    facts = case()
    outputs = outputs_of(facts)
    three = frozen(facts["scores"], facts["labels"], facts["groups"], facts["features"], names="abc")
    with pytest.raises(UnsupportedDataError, match="needs two groups, there are 3"):
        fit_oxonfair(three, ODDS)
    rows = ((outputs.data.groups == 0) | (outputs.data.labels == 0)).nonzero()[:, 0]
    with pytest.raises(UnsupportedDataError, match="both labels in both groups"):
        fit_oxonfair(outputs.take(rows), ODDS)
    with pytest.raises(UnsupportedDataError, match="two labels, this one has 3"):
        fit_oxonfair(frozen(np.eye(3), [0, 1, 2], [0, 1, 0]), ODDS)
