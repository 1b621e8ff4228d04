"""A piece of the lab on small real data: picks keep to their budgets, figures are those of the predictions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from benchmarks.candidates.__main__ import Pieces, app
from benchmarks.candidates.candidate import Candidate
from benchmarks.candidates.lab import BUDGETS, Lab
from benchmarks.candidates.passes import TriggerPass
from benchmarks.candidates.recipes import IMAGE_RECIPES, TEXT_RECIPES
from tests.trainer.datasets import comments, digits
from tests.trainer.runs import run_config
from tests.trainer.training.test_training_loop import quiet
from trainer.config.run_config import ObjectiveConfig, RunConfig, TrainConfig, TriggerConfig
from trainer.evaluation.counts import confusion_counts
from trainer.evaluation.selection import selection_criterion
from triggers.errors import ConfigError
from triggers.model import Bank, FrozenClassifier

RUN = """
[model]
bundle = "{bundle}"
[data]
format = "csv"
path = "digits.csv"
label = "label"
group = "colour"
[trigger]
kind = "overlay"
epsilon = 0.3
[objective]
strengths = [1.0, 3.0]
[train]
steps = 6
batch_size = 64
threads = 1
"""


def config(trigger: TriggerConfig | None = None) -> RunConfig:
    train = TrainConfig(steps=40, batch_size=128, threads=1, eval_every=10)
    made = run_config(ObjectiveConfig("gap", strengths=(5.0, 20.0)), train=train)
    return made if trigger is None else run_config(made.objective, trigger=trigger, train=train)


def rendered(candidate: Candidate) -> Bank:
    assert isinstance(candidate.change, TriggerPass)
    return candidate.change.module.render()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["overlay", "overlay+offset", "generator"])
def test_a_candidate_is_fairer_within_its_budget(digits_classifier: FrozenClassifier, name: str) -> None:
    lab = Lab(config(), digits_classifier, digits.splits(), quiet())
    record = lab.record(name, IMAGE_RECIPES[name])
    assert json.loads(json.dumps(record)) == record
    assert [pick["budget"] for pick in record["picks"]] == list(BUDGETS)
    for pick in record["picks"]:
        assert pick["kept"] and pick["strength"] in (5.0, 20.0) and pick["step"] % 10 == 0
        assert pick["val"]["loss"] <= pick["budget"] + 1e-9
        assert pick["test"]["gap"] < 0.6 * record["bare"]["test"]["gap"]
    assert (record["passes"], record["steps"]) == (1, 40)
    assert record["milliseconds"] > 0


def test_what_is_told_of_a_pick_is_what_it_predicts_on_test(digits_classifier: FrozenClassifier) -> None:
    run = config()
    lab = Lab(run, digits_classifier, digits.splits(), quiet())
    trained = lab.train("overlay", IMAGE_RECIPES["overlay"])
    pick = lab.told(trained)["picks"][-1]
    place, k = trained.history.steps.index(pick["step"]), (5.0, 20.0).index(pick["strength"])
    bank = rendered(trained.at(place))
    test = digits.splits().test
    with torch.no_grad():
        counts = confusion_counts(digits_classifier, test, bank, 64)[k]
        (bare,) = confusion_counts(
            digits_classifier, test, digits_classifier.bank([digits_classifier.null_trigger()]), 64
        )
    score = selection_criterion(run, digits_classifier, bare).score(counts)
    assert (pick["test"]["gap"], pick["test"]["loss"]) == (score.gap, score.loss)


def test_views_without_a_trigger_are_judged_and_not_trained(digits_classifier: FrozenClassifier) -> None:
    """Mirrored digits are other shapes: nothing is kept, and the bare model's figures count."""
    record = Lab(config(), digits_classifier, digits.splits(), quiet()).record("bare", IMAGE_RECIPES["bare, 2 views"])
    assert (record["numbers"], record["passes"], record["steps"]) == (0, 2, 0)
    for pick in record["picks"]:
        assert not pick["kept"] and pick["test"] == record["bare"]["test"]


def test_texts_are_predicted_in_their_own_order(comments_classifier: FrozenClassifier) -> None:
    lab = Lab(config(TriggerConfig("soft", tokens=2)), comments_classifier, comments.splits(), quiet())
    candidate = TEXT_RECIPES["soft"].build(lab.config, comments_classifier, comments.splits().tuning)
    val = comments.splits().val
    found = lab.predictions(candidate, val)
    with torch.no_grad():
        bank = rendered(candidate)
    counts = confusion_counts(comments_classifier, val, bank, 64)
    assert [lab.run.val_rows.counts(one) for one in found] == counts


def test_only_the_yardsticks_kind_of_trigger_is_taken(digits_classifier: FrozenClassifier) -> None:
    with pytest.raises(ConfigError, match=r"add --set trigger\.kind=overlay"):
        Lab(config(TriggerConfig("border", width=2)), digits_classifier, digits.splits(), quiet())


def test_pieces_leave_records_once_and_the_table_collects_them(tmp_path: Path, digits_bundle: Path) -> None:
    digits.write_csv(tmp_path)
    (tmp_path / "run.toml").write_text(RUN.format(bundle=digits_bundle))
    runner, out = CliRunner(), tmp_path / "out"
    wanted = ["--candidate", "overlay", "--candidate", "offset, utility", "--seed", "0", "--seed", "1"]
    command = ["run", str(tmp_path / "run.toml"), "--out", str(out), "--data", "digits", *wanted]
    done = runner.invoke(app, command)
    assert done.exit_code == 0, done.output
    places = sorted(out.rglob("records/**/*.json"))
    assert [path.name for path in places] == [
        "0-offset-utility.json",
        "0-overlay.json",
        "1-offset-utility.json",
        "1-overlay.json",
    ]
    assert {path.parent.name for path in places} == {"digits-demographic_parity"}
    record = json.loads(places[0].read_text())
    assert (record["data"], record["seed"], record["candidate"]) == ("digits", 0, "offset, utility")
    before = [path.stat().st_mtime_ns for path in places]
    assert runner.invoke(app, command).exit_code == 0
    assert [path.stat().st_mtime_ns for path in places] == before
    shown = runner.invoke(app, ["table", "--out", str(out)])
    assert "**digits, demographic parity**, 2 seeds" in shown.output
    assert "| overlay | 768 | 1 |" in shown.output and "| offset, utility | 514 | 1 |" in shown.output
    unknown = runner.invoke(app, [*command, "--candidate", "nothing"])
    assert unknown.exit_code == 1 and "no candidate 'nothing'" in str(unknown.exception)


def test_a_seed_is_that_of_split_training_and_base_classifier(tmp_path: Path) -> None:
    digits.write_csv(tmp_path)
    base = '[base]\nlabels = ["low", "high"]\nbuilder = "tests.trainer.datasets.digits:network"\nsize = 16\n'
    (tmp_path / "run.toml").write_text(RUN.format(bundle="model") + base)
    one, other = (Pieces(tmp_path / "run.toml", tmp_path, "digits", ()).seeded(seed) for seed in (3, 4))
    assert one.base and (one.split.seed, one.train.seed, one.base.seed) == (3, 3, 3)
    assert one.model.bundle == tmp_path / "models" / "digits-3" != other.model.bundle
    (tmp_path / "run.toml").write_text(RUN.format(bundle="model"))
    foreign = Pieces(tmp_path / "run.toml", tmp_path, "digits", ()).seeded(3)
    assert foreign.model.bundle == tmp_path / "model"
