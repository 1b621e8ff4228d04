"""Tables of served fairness figures in Markdown, from the documents that the fairness endpoint gave.

python -m examples.results_table runs/celeba-seeds/results.json
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Annotated, Any, TypeAlias

import typer

Figure: TypeAlias = Mapping[str, Any]
"""An estimate or a gap as the endpoint gives it: value, low, high, reason."""

GAPS = {
    "demographic_parity_difference": "demographic parity difference",
    "equalized_odds_difference": "equalized odds difference",
    "average_odds_difference": "average odds difference",
}
HEADER = ("accuracy", *GAPS.values())


def served_table(fairness: Mapping[str, Any]) -> str:
    """One row per version that the service has counted, each figure with its 95 % interval."""
    rows = [(name, str(report["n"]), *map(_interval, figures(report))) for name, report in fairness["versions"].items()]
    return _markdown(("served", "n", *HEADER), rows)


def seeds_table(results: Mapping[str, Any]) -> str:
    """Per seed bare and under the recommended trigger; then the means over the seeds with the range in brackets."""
    rows, columns = [], {"bare": [], "trigger": []}  # type: ignore[var-annotated]
    for run in results["seeds"]:
        for name, version in (("bare", "bare"), ("trigger", run["recommended"])):
            found = figures(run["fairness"]["versions"][version])
            columns[name].append([figure["value"] for figure in found])
            rows.append((str(run["seed"]), name, *map(_interval, found)))
    for name, values in columns.items():
        rows.append(("mean", name, *map(_range, zip(*values, strict=True))))
    return _markdown(("seed", "served", *HEADER), rows)


def figures(report: Mapping[str, Any]) -> list[Figure]:
    """Accuracy and the gaps of one version's report, in the order of HEADER."""
    return [report["overall"]["accuracy"], *(report["gaps"][name] for name in GAPS)]


def _interval(figure: Figure) -> str:
    if figure["value"] is None:
        return f"undefined ({figure['reason']})"
    return f"{_short(figure['value'])} [{_short(figure['low'])}, {_short(figure['high'])}]"


def _range(values: Iterable[float]) -> str:
    found = list(values)
    return f"**{_short(mean(found))}** ({_short(min(found))} to {_short(max(found))})"


def _short(value: float) -> str:
    return f"{value:.3f}".replace("0.", ".", 1)


def _markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def main(path: Annotated[Path, typer.Argument(help="results.json of `python -m examples.seeds`")]) -> None:
    """Print the Markdown table of a run over several seeds, with the command that made it."""
    results = json.loads(path.read_bytes())
    print(f"`{results['command']}` on {results['device']}, {results['seconds']:.0f} s in all:\n")
    print(seeds_table(results))


if __name__ == "__main__":
    typer.run(main)
