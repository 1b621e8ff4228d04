"""Every figure of an audit as one long table: a row for each version, choice of attributes, group and figure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

from fairtrigger.auditing.audit_figures import RATES
from trainer.formatting import Json

CSV_COLUMNS = ("version", "attributes", "group", "figure", "value", "low", "high", "n", "reason")


def audit_rows(document: Json) -> list[dict[str, Any]]:
    """The rows; the group is empty for figures over all groups. Counts are rows too, by the name `n`."""
    found: list[dict[str, Any]] = []
    everything = ",".join(document["terms"]["attributes"])
    for version, figures in document["figures"].items():
        start = {"version": version, "attributes": everything}
        found += _group_rows(start | {"group": ""}, figures["overall"])
        for attributes, part in {everything: figures, **figures["attributes"]}.items():
            start = {"version": version, "attributes": attributes}
            found += [{**start, "group": "", **_figure(name, gap)} for name, gap in part["gaps"].items()]
            for group, rates in part["groups"].items():
                found += _group_rows(start | {"group": group}, rates)
        for table in document.get("impact_ratios", {}).get(version, ()):
            found += _ratio_rows(version, table)
    return found


def audit_csv(document: Json) -> str:
    """The rows as CSV."""
    out = io.StringIO()
    writer = csv.DictWriter(out, CSV_COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(audit_rows(document))
    return out.getvalue()


def _group_rows(start: dict[str, Any], rates: Json) -> Iterator[dict[str, Any]]:
    for name in ("n", "labelled"):
        yield start | {"figure": name, "value": rates[name], "n": rates[name]}
    for rate in RATES:
        yield start | _figure(rate, rates[rate])


def _figure(name: str, figure: Json) -> dict[str, Any]:
    return {"figure": name} | {key: figure[key] for key in ("value", "low", "high", "n", "reason")}


def _ratio_rows(version: str, table: Json) -> Iterator[dict[str, Any]]:
    for row in table["categories"]:
        start = {"version": version, "attributes": ",".join(table["attributes"]), "group": row["category"]}
        of = f"ll144 {table['rate']} of {table['of']}"
        yield start | {"figure": of, "value": row["rate"], "low": row["low"], "high": row["high"], "n": row["n"]}
        reason = "left_out" if row["left_out"] else None
        ratio = {"figure": f"ll144 impact_ratio of {table['of']}", "value": row["impact_ratio"], "n": row["n"]}
        yield start | ratio | {"reason": reason}
