"""The command `audit`: a report on the decisions in a file, or on what a service counted; and the check of one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fairtrigger.cli.options import JsonOption, print_json, trust_of
from triggers.errors import ConfigError
from triggers.storage import read_secret

if TYPE_CHECKING:
    from fairtrigger.auditing import AuditReport

EPILOG = (
    "Examples: fairtrigger audit scores.parquet --out audit · fairtrigger audit loans.csv --decision approved "
    "--positive yes --truth repaid --group sex --group age=age_band · fairtrigger audit --live http://localhost:8077 "
    "--window 30d · fairtrigger --trusted-keys auditor.pub audit --check audit/audit.json"
)


def register_audit_command(app: typer.Typer) -> None:
    """Register the command."""
    app.command(epilog=EPILOG)(audit)


def audit(
    context: typer.Context,
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="CSV, JSON lines or Parquet; `fairtrigger score`'s or yours.")
    ] = None,
    live: Annotated[str | None, typer.Option("--live", metavar="URL", help="A running service, instead.")] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="The service's model, or the name on the report.")
    ] = None,
    window: Annotated[str, typer.Option("--window", help="Of --live: 1h, 24h, 7d, 30d, 90d, all.")] = "all",
    token_file: Annotated[
        Path | None, typer.Option("--token-file", help="File with the admin token: exact counts. Or the environment.")
    ] = None,
    decision: Annotated[str | None, typer.Option("--decision", help="Column of what was decided.")] = None,
    truth: Annotated[str | None, typer.Option("--truth", help="Column of the true label, empty where unknown.")] = None,
    group: Annotated[
        list[str] | None, typer.Option("--group", help="COLUMN or NAME=COLUMN; repeat for intersections.")
    ] = None,
    score: Annotated[str | None, typer.Option("--score", help="Column of scores.")] = None,
    threshold: Annotated[
        float | None, typer.Option("--threshold", help="Decides: --score at least so high is selected.")
    ] = None,
    version: Annotated[str | None, typer.Option("--version", help="Column that names the version.")] = None,
    labels: Annotated[str | None, typer.Option("--labels", help="All labels by commas, in order.")] = None,
    positive: Annotated[str | None, typer.Option("--positive", help="The label whose rate is watched.")] = None,
    confidence: Annotated[float | None, typer.Option("--confidence", help="Of the intervals; default 0.95.")] = None,
    overlapping: Annotated[
        bool, typer.Option("--overlapping", help="Groups like `a + b` count for a and for b.")
    ] = False,
    template: Annotated[
        str | None, typer.Option("--template", help="Also in the form of: ll144, ai-act, model-card.")
    ] = None,
    period: Annotated[
        str | None, typer.Option("--period", help="Of the data, for ll144: 2025-01-01/2025-12-31.")
    ] = None,
    exclude_small: Annotated[
        str | None,
        typer.Option("--exclude-small", metavar="WHY", help="ll144: no ratio of categories under 2 %, and why."),
    ] = None,
    sign: Annotated[Path | None, typer.Option("--sign", metavar="KEY", help="Private key that signs it.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for audit.json, .csv, .html and .pdf.")] = None,
    check: Annotated[
        Path | None, typer.Option("--check", metavar="FILE.json", help="Recompute an audit from its counts instead.")
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Report fairness figures of decisions, with intervals, what is missing, and all counts they follow from."""
    if check is not None:
        if file or live or out:
            raise ConfigError("--check recomputes a written audit: give it alone.")
        _check(context, check)
        return
    from fairtrigger import auditing

    report = auditing.audit(
        file,
        live=live,
        model=model,
        window=window,
        token=_token(token_file) if live else None,
        decision=decision,
        truth=truth,
        groups=_groups(group or []),
        score=score,
        version=version,
        threshold=threshold,
        labels=[each.strip() for each in labels.split(",")] if labels else (),
        positive=positive,
        confidence=confidence,
        overlapping=overlapping,
        template=template,  # type: ignore[arg-type]
        period=_period(period),
        exclude_small=exclude_small,
        sign=sign,
    )
    written = report.write(out) if out else []
    if json_:
        print_json(report.document)
        return
    _print(report)
    for path in written:
        typer.echo(str(path))
    if not written:
        typer.echo("Nothing was written: --out FOLDER writes the page, the PDF, CSV and JSON.")


def _check(context: typer.Context, path: Path) -> None:
    from fairtrigger.auditing import check_audit, require_holding

    found = check_audit(path, trust_of(context))
    require_holding(found, path)
    typer.echo(f"{path}: yes, all {found.numbers:,} numbers follow from its counts; {found.signature}")


def _token(path: Path | None) -> str | None:
    """The admin token, from a file or the environment."""
    return read_secret(path, "--token-file") if path else os.environ.get("FAIRTRIGGER_ADMIN_TOKEN") or None


def _groups(given: list[str]) -> dict[str, str]:
    """Columns by attribute. Raises ConfigError for a name twice."""
    found: dict[str, str] = {}
    for each in given:
        name, named, column = each.partition("=")
        if name in found or not name or (named and not column):
            raise ConfigError(f"--group {each}: give COLUMN or NAME=COLUMN, each name once.")
        found[name] = column or name
    return found


def _period(text: str | None) -> tuple[str, str] | None:
    if text is None:
        return None
    since, _, until = text.partition("/")
    return since, until


def _print(report: AuditReport) -> None:
    """The findings, the figures by version, and what to mind."""
    from rich.table import Table

    from fairtrigger.cli.options import console
    from trainer.formatting import format_interval

    figures: dict[str, Any] = dict(report.figures)
    table = Table("", *figures)
    for rate in ("selection_rate", "accuracy"):
        overall = (format_interval(each["overall"][rate]) for each in figures.values())
        table.add_row(rate.replace("_", " "), *overall)
    for gap in ("demographic_parity_difference", "demographic_parity_ratio", "equalized_odds_difference"):
        table.add_row(gap.replace("_", " "), *(format_interval(each["gaps"][gap]) for each in figures.values()))
    console().print(table)
    for sentence in report.findings:
        typer.echo(sentence)
    for sentence in report.cautions:
        typer.echo(f"mind: {sentence}")
