"""Pieces: which there are, how each is configured, and one that is run."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest

from benchmarks.results.piece import Piece, configured, kinds, planned, prepared, run_piece
from benchmarks.results.run_record import RunRecord
from benchmarks.tasks import CURVES, MAIN, SIZES, TASKS, Sources, rare_posts
from tests.trainer.datasets import digits
from trainer.config.run_config import RunConfig
from trainer.progress import LineProgress


def config(task: str, kind: str, tuning: int | None = None) -> RunConfig:
    """The configuration of a piece whose data and bundles are nowhere."""
    where = () if TASKS[task].fitted else ('model.bundle="/nowhere"',)
    return configured(Piece(task, "equalized_odds", 3, kind, tuning), Path("/somewhere"), where)


def test_every_task_has_every_kind_criterion_and_seed_and_curves_every_size() -> None:
    found = planned([*MAIN, *CURVES], range(5))
    assert len(found) == len({one.name for one in found}) == 5 * (4 * 2 * 3 + 2 * 2 * 2) + 5 * 2 * len(SIZES)
    assert {one.criterion for one in found if one.task == "toxic-sizes"} == {"demographic_parity"}
    assert {one.kind for one in found if one.tuning} == {"overlay", "soft"}


def test_a_choice_leaves_out_the_rest() -> None:
    found = planned(["attractive", "toxic-sizes"], [1], ["equalized_odds"], ["overlay", "soft"], [250])
    assert [one.name for one in found] == [
        "attractive-equalized_odds-1-overlay",
        "toxic-sizes-demographic_parity-1-soft-250",
    ]


def test_the_options_of_a_piece_mean_it_alone() -> None:
    for one in planned([*MAIN, *CURVES], [2]):
        words = dict(zip(one.arguments[::2], one.arguments[1::2], strict=True))
        sizes = [int(words["--tuning-size"])] if one.tuning else []
        again = planned([words["--task"]], [int(words["--seed"])], [one.criterion], [words["--kind"]], sizes)
        assert again == [one]


@pytest.mark.parametrize("task", MAIN)
def test_every_kind_of_every_task_is_a_run_of_the_product(task: str) -> None:
    for kind in kinds(TASKS[task]):
        made = config(task, kind)
        assert (made.trigger.kind, made.objective.criterion) == (kind, "equalized_odds")
        assert (made.split.seed, made.train.seed) == (3, 3)
        assert made.controls.enabled and not made.publish.enabled and not made.report.enabled
        assert (made.select.max_accuracy_drop, made.select.measure) == (0.01, "balanced_accuracy")


def test_the_kinds_of_a_task_share_out_the_whole_models() -> None:
    systems = {kind: config("attractive", kind).baselines for kind in ("overlay", "pixels")}
    assert systems["overlay"].systems == ("adv_post",) and systems["overlay"].strengths == (1.0, 2.0, 5.0)
    assert systems["pixels"].systems == ("adv_in",)
    assert config("age", "pixels").baselines.systems == ()  # nobody fitted its network here
    assert config("age", "overlay").baselines.systems == ("adv_post",)


def test_smaller_tuning_parts_are_shares_of_one_part_and_have_as_many_steps() -> None:
    made = {size: config("attractive-sizes", "overlay", size) for size in SIZES}
    assert {one.split.tuning for one in made.values()} == {5000} and {one.split.base for one in made.values()} == {2000}
    assert [size * 1.0 for size in SIZES] == [one.split.tuning_ratio * 5000 for one in made.values()]
    assert [one.train.epochs for one in made.values()] == [160, 80, 40, 20, 20]  # batches of 128
    assert [one.baselines.epochs for one in made.values()] == [160, 80, 40, 20, 20]


def test_what_is_asked_for_wins_over_a_kinds_own_settings() -> None:
    piece = Piece("attractive-sizes", "equalized_odds", 0, "overlay", 250)
    made = configured(
        piece, Path("/somewhere"), ["train.epochs=3", "objective.strengths=[7.0]", "baselines.systems=[]"]
    )
    assert (made.train.epochs, made.train.lr) == (3, 0.02)
    assert (made.objective.strengths, made.objective.name) == ((7.0,), "adversarial")
    assert made.baselines.systems == ()


def test_the_plain_kinds_of_large_parts_go_first() -> None:
    found = sorted(planned(["attractive", "attractive-sizes"], [0]), key=lambda one: -one.cost)
    assert found[0].tuning == 5000 and found[-1].kind != "overlay"


def test_rare_posts_are_one_in_ten(tmp_path: Path) -> None:
    path = tmp_path / "posts.csv"
    path.write_text("id,toxic\n" + "".join(f"{at},{int(at >= 90)}\n" for at in range(190)))
    rare_posts(path, tmp_path / "rare.csv")
    kept = (tmp_path / "rare.csv").read_text().splitlines()[1:]
    assert len(kept) == 100 and sum(row.endswith(",1") for row in kept) == 10


def test_a_piece_leaves_a_record_and_is_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digits_bundle: Path
) -> None:
    data, names = digits.write_csv(tmp_path), json.dumps(digits.GROUPS)
    columns = ("data.group=colour", f"data.group_names={names}")
    where = (f'data.path="{data}"', f'model.bundle="{digits_bundle}"', *columns)
    monkeypatch.setitem(TASKS, "digits", replace(TASKS["digits"], prepare=lambda *_: where))
    piece, said = Piece("digits", "demographic_parity", 0, "overlay"), StringIO()
    changes = ["train.steps=2", "objective.strengths=[1.0]", "baselines.systems=[]", "train.threads=1"]
    for _ in range(2):
        run_piece(piece, tmp_path, tmp_path / "pieces", Sources(*[tmp_path] * 3), changes, LineProgress(said))
    found = RunRecord(json.loads(piece.path(tmp_path / "pieces").read_bytes()))
    assert all(found.rows) and {"overlay", "threshold"} <= found.systems.keys()
    assert prepared(piece, tmp_path).exists()
    assert said.getvalue().count("train triggers  2/2") == 1
