"""The figures of a run over several seeds as a Markdown table, from what the service's fairness endpoint gave.

python -m examples.results_table runs/celeba-seeds/results.json --keep docs/results/celeba.json

What `--keep` writes is read like the run's own file; `docs/results-2026-11.md` was made from such files.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from math import sqrt
from pathlib import Path
from statistics import mean, stdev
from typing import Annotated, Any, TypeAlias

import typer

from fairtrigger.demo.fairness_table import SHOWN_GAPS

Report: TypeAlias = Mapping[str, Any]
"""One version's part of the fairness document."""

T_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""Student's t for a two-sided 95 % interval of a mean of 2, 3, ... 10 values."""


def seeds_table(results: Mapping[str, Any]) -> str:
    """Rows: each seed bare and under its recommended trigger, then the mean over the seeds and the mean change.

    In square brackets the service's 95 % interval of one model over its test rows, in round ones the 95 % interval
    (Student's t) of the mean over the seeds.
    """
    pairs = [(run, _versions(run)) for run in results["seeds"]]
    rows = [
        (str(run["seed"]), name, str(report["n"]), *map(_interval, figures(report)))
        for run, reports in pairs
        for name, report in zip(("bare", _trigger_name(run)), reports, strict=True)
    ]
    bare, under = ([[one["value"] for one in figures(reports[at])] for _, reports in pairs] for at in (0, 1))
    change = [[_change(*values) for values in zip(*two, strict=True)] for two in zip(bare, under, strict=True)]
    for name, values in (("bare", bare), ("trigger", under), ("change", change)):
        cells = [_mean(column, signed=name == "change") for column in zip(*values, strict=True)]
        rows.append(("mean", name, "", *cells))
    return _markdown(("seed", "served", "n", "accuracy", *(gap.replace("_", " ") for gap in SHOWN_GAPS)), rows)


def kept(results: Mapping[str, Any]) -> dict[str, Any]:
    """The part of the results that the table needs: of each seed, no trigger and the recommended one."""
    return {**results, "seeds": [_kept_seed(run) for run in results["seeds"]]}


def _kept_seed(run: Mapping[str, Any]) -> dict[str, Any]:
    versions = {name: _kept_report(run["fairness"]["versions"][name]) for name in ("bare", run["recommended"])}
    same = ("seed", "recommended", "device", "model_fingerprint", "seconds")
    return {**{key: run[key] for key in same}, "fairness": {"versions": versions}}


def _kept_report(report: Report) -> dict[str, Any]:
    groups = {name: {"n": group["n"], **_rates(group)} for name, group in report["groups"].items()}
    gaps = {gap: _rounded(report["gaps"][gap]) for gap in SHOWN_GAPS}
    return {"n": report["n"], "overall": _rates(report["overall"]), "gaps": gaps, "groups": groups}


def _rates(part: Mapping[str, Any]) -> dict[str, Any]:
    return {rate: _rounded(part[rate]) for rate in ("accuracy", "selection_rate")}


def _rounded(figure: Mapping[str, Any]) -> dict[str, Any]:
    return {key: round(value, 6) if isinstance(value, float) else value for key, value in figure.items()}


def block(results: Mapping[str, Any]) -> str:
    """The command, its table and its time, as they stand in docs/results-2026-11.md."""
    return f"```sh\n{results['command']}\n```\n\n{seeds_table(results)}\n\n{timing(results)}"


def timing(results: Mapping[str, Any]) -> str:
    """Where the time went, per seed."""
    parts = [
        f"seed {run['seed']}: {run['seconds']['base_and_data']:.0f} s data and classifier, "
        f"{run['seconds']['triggers']:.0f} s triggers, {run['seconds']['replay']:.0f} s replay"
        for run in results["seeds"]
    ]
    return f"{results['device']}, {results['seconds']:.0f} s in all ({'; '.join(parts)})."


def figures(report: Report) -> list[Mapping[str, Any]]:
    """Accuracy and the gaps of one version."""
    return [report["overall"]["accuracy"], *(report["gaps"][gap] for gap in SHOWN_GAPS)]


def _versions(run: Mapping[str, Any]) -> tuple[Report, Report]:
    versions = run["fairness"]["versions"]
    return versions["bare"], versions[run["recommended"]]


def _trigger_name(run: Mapping[str, Any]) -> str:
    """A run that recommends no trigger goes on being served bare, and counts as that in the means."""
    return "no trigger found" if run["recommended"] == "bare" else "trigger"


def _interval(figure: Mapping[str, Any]) -> str:
    if figure["value"] is None:
        return f"undefined ({figure['reason']})"
    return f"{_short(figure['value'])} [{_short(figure['low'])}, {_short(figure['high'])}]"


def _change(bare: float | None, trigger: float | None) -> float | None:
    return None if bare is None or trigger is None else trigger - bare


def _mean(values: Sequence[float | None], *, signed: bool) -> str:
    found = [value for value in values if value is not None]
    if len(found) < len(values):
        return "undefined"
    middle = mean(found)
    if len(found) < 2:
        return f"**{_short(middle, signed)}**"
    half = T_975[len(found) - 2] * stdev(found) / sqrt(len(found))
    return f"**{_short(middle, signed)}** ({_short(middle - half, signed)}, {_short(middle + half, signed)})"


def _short(value: float, signed: bool = False) -> str:
    """Three digits without the leading zero: .123, -.045, and +.045 for a change."""
    return f"{value:+.3f}".replace("0.", ".", 1).removeprefix("" if signed else "+")


def _markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def main(
    path: Annotated[Path, typer.Argument(help="results.json of `python -m examples.seeds`")],
    keep: Annotated[Path | None, typer.Option(help="write the part that this table needs to a JSON file")] = None,
) -> None:
    """Print the command of a run over several seeds, its Markdown table, and how long it took."""
    results = json.loads(path.read_bytes())
    if keep:
        keep.write_text(json.dumps(kept(results), indent=1) + "\n")
    print(block(results))


if __name__ == "__main__":
    typer.run(main)
