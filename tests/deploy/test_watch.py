"""Alerts and dashboard ask for metrics that there are, and every alert has a run book."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from service import runtime_collectors
from service.telemetry.metrics import Metrics
from tests.deploy.files import ROOT, read

ALERTS = [rule for group in read("deploy/watch/alerts.yml")["groups"] for rule in group["rules"]]
DASHBOARD = "deploy/watch/grafana/dashboards/fairtrigger.json"


def known() -> Iterator[str]:
    """The names of all samples that the service can have."""
    for metric in Metrics().registry.collect():
        ends = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(metric.type, [""])
        yield from (metric.name + end for end in ends)
    source = (ROOT / "service/runtime_collectors.py").read_text()
    yield from (f"fairtrigger_{name}" for name in re.findall(r"\{METRIC_PREFIX\}_(\w+)", source))
    yield from (f"fairtrigger_{name}" for name in (*runtime_collectors.GAP_METRICS, runtime_collectors.SAMPLES))


@pytest.mark.parametrize("text", [json.dumps(ALERTS), json.dumps(read(DASHBOARD))], ids=["alerts", "dashboard"])
def test_metrics_exist(text: str) -> None:
    asked = set(re.findall(r"\bfairtrigger_\w+", text))
    assert len(asked) > 5 and asked <= set(known())


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: str(alert["alert"]))
def test_run_book(alert: dict[str, dict[str, str]]) -> None:
    page, _, anchor = alert["annotations"]["runbook"].partition("#")
    headings = re.findall(r"^#+ (\w+)$", (ROOT / page).read_text(), re.MULTILINE)
    assert anchor in [heading.lower() for heading in headings]


def test_dashboard_reads_the_provisioned_source() -> None:
    source = read("deploy/watch/grafana/provisioning/datasources/prometheus.yml")["datasources"][0]
    panels = read(DASHBOARD)["panels"]
    assert {target["datasource"]["uid"] for panel in panels for target in panel["targets"]} == {source["uid"]}
