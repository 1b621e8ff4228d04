"""The page: its structure, its tables, and the command that writes it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from benchmarks.results.page import results_page
from benchmarks.results.problem import name_of
from benchmarks.results.run_record import NOTHING, RunRecord
from tests.benchmarks.results.made import record


def compared() -> list[RunRecord]:
    made = [
        record({"overlay": 10 + seed, "adv_post": 20, "hardt": 5, "threshold": 39}, seed=seed, dropped=("threshold",))
        for seed in range(3)
    ]
    return [*made, *(record({"soft": 30}, NOTHING, task="toxic", kind="soft", seed=seed) for seed in range(3))]


def at_sizes() -> list[RunRecord]:
    return [
        record({"overlay": 40 - size // 50, "adv_post": 30}, task="attractive-sizes", seed=seed, tuning=size)
        for size in (250, 500, 1000)
        for seed in range(2)
    ]


def test_the_page_says_first_what_a_user_wants_to_know() -> None:
    text = results_page([*compared(), *at_sizes()])
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        "# Results",
        "## In short",
        "## How to read the tables",
        "### CelebA: Attractive given Male, demographic parity",
        "### HateXplain: toxic given names an identity, demographic parity",
        "## The recommended system beside every rival",
        "## How much tuning data",
        "### CelebA: Attractive given Male, demographic parity, by rows of tuning",
        "## How the runs were made",
    ]
    assert "the budget (1 point of" in text and "12 runs on cpu, 6 minutes" in text


def test_a_table_has_every_system_by_its_gap_after_the_advice() -> None:
    text = results_page(compared())
    table = text[text.index("### CelebA") : text.index("### HateXplain")]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")][2:]
    assert [row[0] for row in rows] == [
        "**as the report recommends**",
        name_of("hardt"),
        "trigger: overlay",
        "AdvPost",
        "threshold shift",
    ]
    # gaps .10, .11, .12: mean .11, standard error .01 / sqrt(3), t = 4.303; recall of yes in group men .20 -> .78
    assert rows[0][1] == rows[2][1] == ".110 (.085 to .135)"
    assert rows[2][2:] == ["+14.5", "+14.5", "1.00 (no)", "3 of 3", "nothing"]
    assert rows[4][1:6] == [".400 (.400 to .400)", "0.0", "0.0", "1.00 (no)", "0 of 3"]
    assert rows[1][6] == "every group at prediction" and rows[3][6] == "weights"
    assert "certified picks that hold on test: 3 of 3 (44 % to 100 %)" in table
    assert (
        "seeds 0, 1, 2; `no` is 50 % of the test rows. Without a trigger: demographic parity difference .400" in table
    )


def test_curves_have_a_cell_for_every_size_and_the_sizes_that_reach_a_gap() -> None:
    text = results_page(at_sizes())
    assert "| trigger" not in text and "![Gap over the rows of the tuning part](results/tuning-sizes.png)" in text
    assert "| overlay | .350 (.350 to .350) [+2.5] | .300 (.300 to .300) [+5.0] | .200 (.200 to .200) [+10.0] |" in text
    assert "| rows at which the gap falls to | 75 % (.300) | 50 % (.200) | 35 % (.140) |" in text
    assert "| overlay | 500 (500 to 500) | 1,000 (1,000 to 1,000) | none of 2 |" in text
    assert "| AdvPost | at most 250 | none of 2 | none of 2 |" in text


def test_classifiers_that_were_fitted_again_are_told() -> None:
    again = RunRecord({**record({"pixels": 9}, NOTHING, kind="pixels", seed=1).json, "fingerprint": "sha256:other"})
    assert "In seeds 1 not all systems had the same fit" in results_page([*compared(), again])
    assert "the same fit" not in results_page(compared())


def test_without_records_the_page_says_so() -> None:
    text = results_page([])
    assert "no records of the present selection yet" in text and "results-2026-11.md" in text


def test_one_command_collects_the_pieces_and_writes_page_and_picture(tmp_path: Path) -> None:
    from benchmarks.results.__main__ import app

    pieces, docs = tmp_path / "out" / "pieces", tmp_path / "docs"
    pieces.mkdir(parents=True)
    for at, one in enumerate([*compared(), *at_sizes()]):
        (pieces / f"{at}.json").write_text(json.dumps(one.json))
    before = docs / "results" / "runs"
    before.mkdir(parents=True)
    old, kept = record({"overlay": 39}, seed=0).json, record({"overlay": 12}, seed=4).json
    (before / "attractive.json").write_text(json.dumps([old, kept]))
    none = ["--task", "attractive", "--seed", "0", "--kind", "no such kind"]  # no piece to run
    found = CliRunner().invoke(app, ["--out", str(tmp_path / "out"), "--docs", str(docs), "--page", *none])
    assert found.exit_code == 0, found.output
    text = (docs / "results.md").read_text()
    assert "seeds 0, 1, 2, 4;" in text and "### HateXplain" in text and "| .390" not in text
    with Image.open(docs / "results" / "tuning-sizes.png") as picture:
        assert picture.width > 300
    assert len(json.loads((before / "attractive.json").read_bytes())) == 4
    again = CliRunner().invoke(app, ["--docs", str(docs), "--page"])
    assert again.exit_code == 0 and (docs / "results.md").read_text() == text


@pytest.mark.parametrize(("gap", "code"), [(30, 0), (2, 1)])
def test_the_check_ends_with_what_it_found(tmp_path: Path, gap: int, code: int) -> None:
    from benchmarks.results.__main__ import app

    folder = tmp_path / "results" / "runs"
    folder.mkdir(parents=True)
    made = [record({"overlay": 10, "adv_post": gap}, seed=seed).json for seed in range(3)]
    (folder / "attractive.json").write_text(json.dumps(made))
    found = CliRunner().invoke(app, ["--docs", str(tmp_path), "--check"])
    assert found.exit_code == code and ("| no |" if code else "| yes |") in found.output
