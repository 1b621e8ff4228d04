"""docs/results.md, from the records of the runs alone: what a user wants to know first, then the tables behind it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean

from benchmarks.results.baseline_check import check_baselines, check_lines
from benchmarks.results.findings import findings, held_share
from benchmarks.results.piece import SEEDS, planned
from benchmarks.results.problem import ADVISED, ASKS_FOR, Problem, advice_words, name_of, problems
from benchmarks.results.run_record import RunRecord
from benchmarks.results.seed_mean import seed_mean
from benchmarks.results.tuning_curves import LEFT, TuningCurve, tuning_curves
from benchmarks.tasks import CURVES, MAIN, TASKS
from trainer.formatting import format_number, join_words

PICTURE = "tuning-sizes.png"

INTRODUCTION = """\
# Results
Every figure on this page is of the product as it is: runs of `python -m trainer` with its own selection, on data that
no training saw. The page is written by `make results` from the records of the runs; no figure is typed by hand.
[Earlier results](results-2026-11.md), with an older selection, have what is not repeated here: the service's own counts
of the same figures, ablations, transfer to other classifiers, labels of many classes, and what failed.
"""

NO_RUNS = """
There are no records of the present selection yet. Until `make results` has made some (minutes on two large GPUs), the
earlier results are what there is.
"""

READING = """\
## How to read the tables
All systems of a table share the classifiers, the validation rows that choose their settings and the test rows, seed
by seed. Each system's row is the setting with the smallest gap on validation within the budget ({budget} of
balanced accuracy) and above the floors of recall ([how a trigger is recommended](selection.md)); in seeds where no
setting keeps them the model stays bare, and `kept` says in how many one did. *As the report recommends* is the advice
of the report itself, which certifies triggers and holds them against everything cheaper; where it recommends nothing,
that is the bare model.

Gaps are means over the seeds with 95 % intervals (Student's t); changes are in points, against the bare model, seed by
seed. The lowest recall ratio is that of a label, over all rows or in a group, to the bare model's. `asks for`: what a
system needs beside the model's inputs, of whoever runs it.
"""

CHECK = """\
## The recommended system beside every rival
`yes`: what the report recommends leaves no more of the gap than the rival, as far as the interval of the difference
over the seeds tells; `recommended`: the report recommends the rival; `named`: the report says that the rival leaves
less, unproved or for those who may change the weights; `measure`: the rival is told everybody's group. A rival may keep
to the budget on validation without the proof that a certified trigger has.
"""

CURVES_READING = """\
## How much tuning data
The same classifier, validation and test rows at every size, per seed; smaller tuning parts lie within larger ones, and
are trained for at least as many steps as 2,000 rows are. Gaps are the test part's, of the setting that validation
allows; where it allows none, the bare model's.
"""


def read_records(folder: Path) -> list[RunRecord]:
    """All records of a folder of files by task."""
    return [RunRecord(one) for path in sorted(folder.glob("*.json")) for one in json.loads(path.read_bytes())]


def results_page(records: Sequence[RunRecord]) -> str:
    """The whole page."""
    if not records:
        return INTRODUCTION + NO_RUNS
    compared, curves = problems(records), tuning_curves(records)
    checks = check_baselines(compared)
    lines = [INTRODUCTION]
    if compared:
        budget = 100 * max(one.rule.select.max_accuracy_drop for own in compared for one in own.plain)
        lines += [
            "## In short",
            *findings(compared, checks, curves),
            READING.format(budget="1 point" if budget == 1 else f"{budget:g} points"),
        ]
        lines += [line for problem in compared for line in (*problem_section(problem), "")]
        lines += [CHECK, *check_lines(checks), ""]
    if curves:
        lines += [CURVES_READING, f"![Gap over the rows of the tuning part](results/{PICTURE})", ""]
        lines += [line for curve in curves for line in (*curve_section(curve), "")]
    return "\n".join([*lines, *_made(records)]) + "\n"


def problem_section(problem: Problem) -> Iterator[str]:
    """One problem: what was compared, a table of all systems, and what was certified."""
    tuning, val, test = (round(mean(column)) for column in zip(*(one.rows for one in problem.plain), strict=True))
    label, share = problem.rarest
    bare = {name: seed_mean([getattr(one, name) for one in problem.bare]) for name in ("gap", "accuracy", "balanced")}
    yield f"### {problem.title}"
    yield (
        f"{tuning:,} rows of tuning, {val:,} of validation, {test:,} of test; seeds"
        f" {', '.join(map(str, problem.seeds))}; `{label}` is {100 * share:.0f} % of the test rows. Without a trigger:"
        f" {problem.gap_name} {bare['gap'].share}, accuracy {bare['accuracy'].share}, balanced"
        f" {bare['balanced'].share}."
    )
    held = held_share(problem.records)
    certified = f"certified picks that hold on test: {held}" if held else "nothing was certified"
    yield f"\nThe report recommends: {advice_words(problem)}; {certified}."
    if problem.refitted:
        yield f"\nIn seeds {', '.join(map(str, problem.refitted))} not all systems had the same fit of the classifier."
    yield f"\n| system | {problem.gap_name} | balanced accuracy | accuracy | lowest recall ratio | kept | asks for |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    yield from (_row(problem, system) for system in _ordered(problem))


def curve_section(curve: TuningCurve) -> Iterator[str]:
    """One curve: gaps by size, then the sizes at which gaps are reached."""
    yield f"### {curve.title}, by rows of tuning"
    yield f"Without a trigger the gap is {curve.bare.share}; in brackets the change of balanced accuracy in points."
    yield f"\n| system |{''.join(f' {size:,} |' for size in curve.sizes)}"
    yield f"| --- |{' --- |' * len(curve.sizes)}"
    for system in curve.systems:
        cells = [
            f"{one.share} [{curve.balanced_change(system, size).points}]" for size, one in curve.means(system).items()
        ]
        yield f"| {name_of(system)} | {' | '.join(cells)} |"
    targets = [share * curve.bare.value for share in LEFT]
    heads = [f"{100 * share:.0f} % ({format_number(gap)})" for share, gap in zip(LEFT, targets, strict=True)]
    yield f"\n| rows at which the gap falls to | {' | '.join(heads)} |"
    yield f"| --- |{' --- |' * len(LEFT)}"
    for system in curve.systems:
        yield f"| {name_of(system)} | {' | '.join(curve.reached(system, gap).text for gap in targets)} |"


def _ordered(problem: Problem) -> list[str]:
    """What the report recommends, then triggers and rivals by their gaps."""
    rest = [*problem.triggers, *problem.rivals]
    return [ADVISED, *sorted(rest, key=lambda name: problem.mean(name, lambda one: one.gap).value)]


def _row(problem: Problem, system: str) -> str:
    kept, seeds = problem.kept(system)
    lowest = problem.lowest_recall(system)
    trigger = system in problem.triggers
    name = f"**{name_of(system)}**" if system == ADVISED else f"trigger: {system}" if trigger else name_of(system)
    cells = [
        name,
        problem.mean(system, lambda one: one.gap).share,
        problem.change(system, lambda one: one.balanced).points,
        problem.change(system, lambda one: one.accuracy).points,
        lowest.text if lowest else "too few rows",
        f"{kept} of {seeds}",
        "" if system == ADVISED else ASKS_FOR.get(system, "nothing"),
    ]
    return f"| {' | '.join(cells)} |"


def _made(records: Sequence[RunRecord]) -> Iterator[str]:
    """How the runs were made."""
    devices = sorted({one.json["device"] for one in records})
    seconds = sum(sum(one.json["seconds"].values()) for one in records)
    yield "## How the runs were made"
    yield (
        f"{len(records)} runs on {' and '.join(devices)}, {seconds / 60:,.0f} minutes of them in all, many side by"
        " side. Every seed splits the data, fits the classifier and trains anew (dlib's network is fitted on none of"
        " these data; CelebA's partition is fixed, so its seeds share validation and test faces)."
    )
    if missing := _missing(records):
        yield f"\nNot run so far: {'; '.join(missing)}."
    yield "\nAgain, and what is left:\n\n```sh\nmake results PROCESSES=36\npython -m benchmarks.results --help\n```"


def _missing(records: Sequence[RunRecord]) -> list[str]:
    """What `make results` would still run, by task, criterion and trigger kind or tuning size."""
    made = {(*one.problem, one.seed, one.json["kind"], one.tuning) for one in records}
    left: dict[str, list[str]] = {}
    for piece in planned(MAIN + CURVES, SEEDS):
        if (piece.task, piece.criterion, piece.seed, piece.kind, piece.tuning) not in made:
            what = piece.kind if piece.tuning is None else f"{piece.tuning:,} rows"
            runs = left.setdefault(TASKS[piece.task].heading(piece.criterion), [])
            runs += [] if what in runs else [what]
    return [f"{heading} ({join_words(runs)})" for heading, runs in left.items()]
