"""Overlapping groups from rows to members: one spelling, one order, nobody dropped unnoticed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from tests.trainer.datasets import digits, many_groups
from tests.trainer.runs import run_config
from trainer.config.data_config import DataConfig
from trainer.config.run_config import Modality, ObjectiveConfig, RunConfig
from trainer.data.dataset import Dataset
from trainer.data.labels import LabelledRows, index_labels
from trainer.data.sources.base import SourceRow
from trainer.data.values.group_membership import membership_table
from trainer.evaluation.counts import confusion_counts
from triggers.errors import ConfigError, DataError
from triggers.metrics.fairness_report import evaluate_counts
from triggers.metrics.overlapping_groups import identities_of
from triggers.model.classifier import FrozenClassifier
from triggers.model.reprogram import sweep

IDENTITIES = ("male", "female", "black")
FOUND = ("female + black", "none", "black", "black + female", "male", "none")


@dataclass(frozen=True)
class Posts:
    """A source of texts whose rows have the given groups."""

    groups: Sequence[str]
    group_names: tuple[str, ...] = ()
    modality: Modality = "text"
    label_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> Sequence[SourceRow]:
        return [SourceRow(f"row {n}", str(n % 2), group, "") for n, group in enumerate(self.groups, start=1)]

    def read(self, row: int) -> str:
        return f"post {row}"

    def stamp(self, row: int) -> None:
        return None


def config(*group: str, missing: str = "refuse") -> RunConfig:
    base = run_config(ObjectiveConfig(strengths=(1.0,)))
    data = DataConfig("csv", base.root, ("label",), group=group, groups_overlap=True, missing_group=missing)  # type: ignore[arg-type]
    return replace(base, data=data)


def table(source: Posts, made: RunConfig) -> LabelledRows:
    return index_labels(made, source, ("no", "yes"))


def test_cells_have_one_spelling_and_one_order() -> None:
    found = table(Posts(FOUND), config(*IDENTITIES))
    assert found.group_names == ("none", "male", "black", "female + black")
    assert found.groups == (3, 0, 2, 3, 1, 0)
    assert found.identities == IDENTITIES


def test_the_order_is_that_of_the_configuration_then_of_the_layout_then_of_the_alphabet() -> None:
    layout, unnamed = ("black", "male", "female"), config("male")
    object.__setattr__(unnamed.data, "group", ())  # as a format may allow whose layout says which identities there are
    assert table(Posts(FOUND, layout), config(*IDENTITIES)).identities == IDENTITIES
    assert table(Posts(FOUND, layout), unnamed).identities == layout
    assert table(Posts(FOUND), unnamed).identities == tuple(sorted(IDENTITIES))


def test_an_identity_of_nobody_is_no_group() -> None:
    assert table(Posts(FOUND), config(*IDENTITIES, "LGBTQ")).identities == IDENTITIES


def test_what_is_not_known_is_refused_or_dropped_but_never_none() -> None:
    source = Posts(("male", "", "female", "none"))
    with pytest.raises(DataError, match="row 2 has no group"):
        table(source, config(*IDENTITIES))
    found = table(source, config(*IDENTITIES, missing="drop"))
    assert (found.rows, found.group_names) == ((0, 2, 3), ("none", "male", "female"))


def test_an_identity_that_nobody_named_is_refused() -> None:
    with pytest.raises(DataError, match=r"row 2 belongs to 'jewish', which is none of data.group \['male'"):
        table(Posts(("male", "male + jewish")), config(*IDENTITIES))


def test_one_identity_is_not_enough() -> None:
    with pytest.raises(DataError, match="The only group"):
        table(Posts(("male", "none", "male")), config(*IDENTITIES))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"group_names": ("a", "b")}, "remove other data.group"),
        ({"group": ("none",)}, "'none' cannot name a group"),
        ({"group": ("unknown",)}, "'unknown' cannot name a group"),
        ({"group": ("a + b",)}, "'a . b' cannot name a group"),
        ({"group": (), "group_words": ("x",)}, "remove other data.group"),
    ],
)
def test_names_that_could_be_misread_are_refused(change: dict[str, tuple[str, ...]], message: str) -> None:
    fields = {"group": ("a", "b"), **change}
    with pytest.raises(ConfigError, match=message):
        DataConfig("csv", Path("x.csv"), ("label",), groups_overlap=True, **fields)  # type: ignore[arg-type]


def test_members_are_the_identities_of_each_rows_cell() -> None:
    tuning = many_groups.splits("overlap").tuning
    assert tuning.membership.tolist() == [[False, False], [True, False], [False, True], [True, True]]
    assert tuning.members.dtype == torch.float32
    for code, members in zip(tuning.groups.tolist(), tuning.members.tolist(), strict=True):
        named = identities_of(tuning.group_names[code])
        assert members == [float(name in named) for name in ("tinted", "framed")]
    assert torch.equal(tuning.take(torch.tensor([5, 3])).members, tuning.members[[5, 3]])
    assert torch.equal(tuning.to("cpu").members, tuning.members)


def test_disjoint_groups_are_their_own_identities() -> None:
    tuning = digits.splits().tuning
    assert tuning.identities == tuning.group_names
    assert torch.equal(tuning.members, torch.nn.functional.one_hot(tuning.groups, 2).float())


def test_codes_and_members_are_the_same_in_every_part() -> None:
    parts = many_groups.parts("overlap")
    assert len({(part.group_names, part.identities) for part in parts.values()}) == 1
    assert all(torch.equal(part.membership, parts["base"].membership) for part in parts.values())


def test_a_table_of_no_cells_has_its_width() -> None:
    assert membership_table((), ("a", "b")).shape == (0, 2)


def test_counts_give_the_same_rates_as_the_members(digits_classifier: FrozenClassifier) -> None:
    """Counted by cell and summed, against the mean prediction over each identity's own rows."""
    data: Dataset = many_groups.splits("overlap").val
    bank = digits_classifier.bank([digits_classifier.null_trigger()])
    report = evaluate_counts(confusion_counts(digits_classifier, data, bank, 100)[0], overlapping=True)
    predicted = sweep(digits_classifier, data.inputs, bank)[0].argmax(dim=-1).float()
    for at, name in enumerate(data.identities):
        member = data.members[:, at] == 1
        assert report.groups[name].n == int(member.sum())
        assert report.groups[name].selection_rate.value == pytest.approx(predicted[member].mean().item())
    assert report.overall.selection_rate.value == pytest.approx(predicted.mean().item())
