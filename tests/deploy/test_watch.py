"""Alerts and dashboard ask for metrics that there are, and every alert has a run book."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from service import runtime_collectors
from service.telemetry.metrics import Metrics
from tests.deploy.environment import ROOT, missing
from tests.deploy.files import read

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


def promtool(*arguments: object) -> None:
    """Prometheus's own tool, which must be content."""
    if not shutil.which("promtool"):
        missing("promtool (Debian's package prometheus)")
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_takes_the_rules() -> None:
    promtool("check", "rules", ROOT / "deploy/watch/alerts.yml")


@pytest.mark.parametrize(("values", "minutes", "fires"), [("0x5", 2, True), ("1x5", 2, False), ("0 0 1 1 1", 3, False)])
def test_a_device_that_stays_away_raises_an_alert(values: str, minutes: int, fires: bool, tmp_path: Path) -> None:
    labels = {"instance": "pod:8080", "process": "1", "device": "cuda:1"}
    rule = next(alert for alert in ALERTS if alert["alert"] == "FairtriggerDeviceDown")
    summary = "Process 1 of pod:8080 does not compute on cuda:1"
    alert = {"exp_labels": labels | rule["labels"], "exp_annotations": rule["annotations"] | {"summary": summary}}
    series = f"fairtrigger_device_up{{{','.join(f'{name}={json.dumps(value)}' for name, value in labels.items())}}}"
    expected = {"eval_time": f"{minutes}m", "alertname": rule["alert"], "exp_alerts": [alert] if fires else []}
    case = {
        "interval": "1m",
        "input_series": [{"series": series, "values": values}],
        "alert_rule_test": [expected],
    }
    rules = {"rule_files": [str(ROOT / "deploy/watch/alerts.yml")], "evaluation_interval": "1m", "tests": [case]}
    (tmp_path / "test.yml").write_text(json.dumps(rules))
    promtool("test", "rules", tmp_path / "test.yml")


def test_the_autoscaler_asks_for_what_the_adapter_serves() -> None:
    (rule,) = read("deploy/kustomize/components/autoscale/adapter.yaml")["rules"]["custom"]
    asked = read("deploy/kustomize/components/autoscale/autoscaler.yaml")["spec"]["metrics"][0]["pods"]["metric"][
        "name"
    ]
    served = rule["seriesQuery"].partition("{")[0]
    assert served == asked and served in set(known())
    assert (
        set(re.findall(r"(\w+)!=", rule["seriesQuery"])) == set(rule["resources"]["overrides"]) == {"namespace", "pod"}
    )


def test_dashboard_reads_the_provisioned_source() -> None:
    source = read("deploy/watch/grafana/provisioning/datasources/prometheus.yml")["datasources"][0]
    panels = read(DASHBOARD)["panels"]
    assert {target["datasource"]["uid"] for panel in panels for target in panel["targets"]} == {source["uid"]}
