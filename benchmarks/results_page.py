"""The results as Markdown tables and a picture of the fronts, from docs/results.json alone.

python -m benchmarks.results_page docs/results.json --into docs/results.md --pictures docs/results

The document keeps what people wrote around the tables; these stand between `<!-- tables -->` and `<!-- end -->`.
Every cell is a mean over seeds with its 95 % interval (Student's t). A budget is the accuracy that a system might cost
on validation, where it was picked; accuracy and gaps are the test part's. Where nothing kept to a budget, the
model stays without a trigger, so the bare model's figures count for that seed; "2 of 3" says in how many seeds one did.
"from .123" behind a system says that its classifiers were fitted once more, and what gap these have without a trigger.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby, pairwise
from math import isnan, nan, sqrt
from pathlib import Path
from statistics import mean, mode, stdev
from typing import Annotated, Any, TypeAlias

import typer

from benchmarks.systems import BUDGETS
from examples.results_table import T_975

Record: TypeAlias = Mapping[str, Any]
GAP = {"demographic_parity": "demographic_parity_difference", "equalized_odds": "average_odds_difference"}
"""The gap that a table shows, by the criterion that was trained for."""


BEGIN, END = "<!-- tables -->\n", "<!-- end -->"


def page(records: Sequence[Record]) -> str:
    """A section per data set, label and criterion, then one per ablation of them."""
    ordered = sorted((one for one in records if "ablation" not in one), key=_section)
    varied = sorted((one for one in records if "ablation" in one), key=_ablation)
    sections = [section(list(found)) for _, found in groupby(ordered, key=_section)]
    sections += [ablation_section(list(found)) for _, found in groupby(varied, key=_ablation)]
    return "\n\n".join(sections) + "\n"


def inserted(document: str, tables: str) -> str:
    """The document with these tables in place of the ones before. Raises ValueError if it has no place for them."""
    before, found, rest = document.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not (found and ended):
        raise ValueError(f"The document has no lines {BEGIN.strip()!r} and {END!r}: add them where the tables belong.")
    return f"{before}{BEGIN}{tables}{END}{after}"


def ablation_section(records: Sequence[Record]) -> str:
    """One table: a row per value and system, each beside the bare model that it was tried on."""
    data, target, criterion, ablation = _ablation(records[0])
    gap, seeds = GAP[criterion], sorted({one["seed"] for one in records})
    header = [ablation, "system", "bare", *(f"within {100 * budget:g} points" for budget in BUDGETS)]
    lines = [header, ["---"] * len(header)]
    for (value, name), found in groupby(sorted(records, key=_point), key=lambda one: (one["value"], one["system"])):
        own = list(found)
        bare = _mean(list({one["seed"]: one[f"base_{gap}"] for one in own}.values()))
        lines.append([str(value), name, bare, *_cells(own, gap)])
    heading = f"#### {data}: {target}, {criterion.replace('_', ' ')}, by {ablation}"
    about = (
        f"{gap.replace('_', ' ')}, seeds {', '.join(map(str, seeds))}; in brackets the change of accuracy in points."
    )
    return f"{heading}\n{about}\n\n" + "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def section(records: Sequence[Record]) -> str:
    """One table: the bare model, then every system, best area first."""
    data, target, criterion = _section(records[0])
    gap = GAP[criterion]
    seeds = sorted({one["seed"] for one in records})
    n = sorted({one["n_test"] for one in records})
    heading = f"### {data}: {target} given {records[0]['group']}, {criterion.replace('_', ' ')}"
    about = f"{gap.replace('_', ' ')} on {' or '.join(map(str, n))} test rows, seeds {', '.join(map(str, seeds))}"
    bare, accuracy = _bare(records, seeds, f"base_{gap}"), _bare(records, seeds, "base_accuracy")
    first = f"Without a trigger: {_mean(bare)}, accuracy {_mean(accuracy)}."
    header = ["system", "objective", *(f"within {100 * budget:g} points" for budget in BUDGETS), "area"]
    rows = sorted(_rows(records, gap, seeds), key=lambda row: row[0])
    lines = [header, ["---"] * len(header), *(cells for _, cells in rows)]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return f"{heading}\n{about}; in brackets the change of accuracy in points.\n\n{first}\n\n{table}"


def area(gaps: Mapping[float, float], bare: float) -> float:
    """Mean gap over budgets from 0 to the largest, as a share of the bare one; bare where nothing kept to a budget."""
    points = [(0.0, bare), *((budget, gaps.get(budget, bare)) for budget in BUDGETS)]
    lowest, found = bare, []
    for budget, gap in points:
        lowest = min(lowest, gap)  # a larger budget allows what a smaller one does
        found.append((budget, lowest))
    total = sum((right - left) * (low + high) / 2 for (left, high), (right, low) in pairwise(found))
    return total / (BUDGETS[-1] * bare)


def _rows(records: Sequence[Record], gap: str, seeds: Sequence[int]) -> Iterable[tuple[float, list[str]]]:
    def system(one: Record) -> tuple[str, str]:
        return one["system"], one["objective"]

    for (name, objective), found in groupby(sorted(records, key=system), key=system):
        own = list(found)
        bare = _bare(own, seeds, f"base_{gap}")
        areas = [area(_by_budget(own, seed, gap), value) for seed, value in zip(seeds, bare, strict=True)]
        other = "" if bare == _bare(records, seeds, f"base_{gap}") else f", from {_short(mean(bare))}"
        yield mean(areas), [name + other, objective, *_cells(own, gap), _mean(areas)]


def _by_budget(records: Sequence[Record], seed: int, gap: str) -> dict[float, float]:
    return {one["budget"]: one[gap] for one in records if one["seed"] == seed}


def _bare(records: Sequence[Record], seeds: Sequence[int], figure: str) -> list[float]:
    """A figure of the bare model of every seed; if its classifier was fitted more than once, of most records."""
    return [mode([float(one[figure]) for one in records if one["seed"] == seed]) for seed in seeds]


def _cells(records: Sequence[Record], gap: str) -> Iterable[str]:
    """A system's cell for every budget."""
    for budget in BUDGETS:
        at = [one for one in records if one["budget"] == budget]
        kept = sum(one["kept"] for one in at)
        said = f"{_mean([one[gap] for one in at])} [{mean(map(_change, at)):+.1f}]"
        yield said if kept == len(at) else f"{said}, {kept} of {len(at)}"


def _change(one: Record) -> float:
    """Of accuracy, in points."""
    return 100 * float(one["accuracy"] - one["base_accuracy"])


def _mean(values: Sequence[float]) -> str:
    """`.123 (.100, .146)`: the mean and its interval over seeds; a single seed has none."""
    middle, half = mean(values), nan
    if 1 < len(values) <= len(T_975) + 1:
        half = T_975[len(values) - 2] * stdev(values) / sqrt(len(values))
    return _short(middle) if isnan(half) else f"{_short(middle)} ({_short(middle - half)}, {_short(middle + half)})"


def _short(value: float) -> str:
    return f"{value:.3f}".replace("0.", ".", 1)


def _ablation(one: Record) -> tuple[str, str, str, str]:
    return (*_section(one), one["ablation"])


def _point(one: Record) -> tuple[bool, float, str, str]:
    """Numbers by size, names after them."""
    value = one["value"]
    named = isinstance(value, str)
    return named, 0.0 if named else float(value), str(value), one["system"]


def _section(one: Record) -> tuple[str, str, str]:
    return one["data"], one["target"], one["criterion"]


def draw(records: Sequence[Record], path: Path) -> None:
    """Mean test gap against mean change of accuracy per system, one point per budget; legible in black and white."""
    from matplotlib.figure import Figure

    gap = GAP[records[0]["criterion"]]
    figure = Figure(figsize=(8.5, 4.5), layout="constrained")
    axes = figure.subplots()
    systems = sorted({(one["system"], one["objective"]) for one in records})
    bare = _bare(records, sorted({one["seed"] for one in records}), f"base_{gap}")
    for number, (name, objective) in enumerate(systems):
        own = [one for one in records if (one["system"], one["objective"]) == (name, objective)]
        points = [[one for one in own if one["budget"] == budget] for budget in BUDGETS]
        x = [mean(map(_change, at)) for at in points]
        y = [mean(one[gap] for one in at) for at in points]
        label = name if objective == "-" else f"{name}, {objective}"
        line, grey = ("-", "--", ":", "-.")[number % 4], f"{0.75 * (number % 4) / 4:.2f}"
        axes.plot(x, y, marker="osv^D*Px<>"[number % 10], linestyle=line, color=grey, label=label)
    axes.plot([0], [mean(bare)], marker="s", color="black", markerfacecolor="white", label="no trigger", linestyle="")
    axes.set_xlabel("change of accuracy on test (points), mean over seeds")
    axes.set_ylabel(f"{gap.replace('_', ' ')} (0 to 1), mean over seeds")
    axes.set_ylim(bottom=0)
    seeds, n = len({one["seed"] for one in records}), records[0]["n_test"]
    data, target, criterion = _section(records[0])
    told = f"{seeds} seeds, n = {n} each; intervals in the table"
    axes.set_title(f"{data}, {target}: {criterion.replace('_', ' ')} ({told})", fontsize=9)
    figure.legend(loc="outside right upper", fontsize=7)
    figure.savefig(path, dpi=150)


def main(
    source: Annotated[Path, typer.Argument(help="docs/results.json")],
    into: Annotated[Path | None, typer.Option(help="put the tables into this document; default: print them")] = None,
    pictures: Annotated[Path | None, typer.Option(help="folder for the pictures of the fronts")] = None,
) -> None:
    """Tables and pictures of what `python -m benchmarks.results` collected."""
    records = json.loads(source.read_bytes())
    if into:
        into.write_text(inserted(into.read_text(), page(records)))
    else:
        print(page(records), end="")
    compared = [one for one in records if "ablation" not in one]
    if pictures:
        pictures.mkdir(parents=True, exist_ok=True)
    for key, found in groupby(sorted(compared, key=_section), key=_section):
        own = list(found)
        if pictures and any(one["kept"] for one in own):
            draw(own, pictures / f"{'-'.join(key).replace(' ', '-')}.png")


if __name__ == "__main__":
    typer.run(main)
