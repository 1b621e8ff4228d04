"""The Helm chart: it says what the kustomize folders say, and refuses in a line what cannot be."""

from __future__ import annotations

import json
import tomllib
from functools import partial
from typing import Any

import pytest

from tests.deploy.environment import ROOT
from tests.deploy.files import read, render
from tests.deploy.helm import CHART, REDIS, RUN, helm, template
from tests.deploy.test_manifests import pods


def test_the_chart_is_sound() -> None:
    done = helm("lint", "--strict", str(CHART))
    assert done.returncode == 0 and "0 chart(s) failed" in done.stdout, done.stdout


@pytest.mark.parametrize(
    ("release", "folder"),
    [("helm/one", "overlays/cpu"), ("helm/replicas", "overlays/replicas"), ("helm/training", "training/job")],
)
def test_its_pods_are_those_of_kustomize(release: str, folder: str) -> None:
    name = "trainer" if "training" in release else "service"
    chart, kustomize = (
        next(pod for pod in pods(render(target)) if pod["containers"][0]["name"] == name)
        for target in (release, folder)
    )
    assert without_names(chart) == without_names(kustomize)


def without_names(value: Any) -> Any:
    """A pod without what a release names otherwise: images, ConfigMaps, labels; lists in any order."""
    if isinstance(value, dict):
        left_out = ("image", "configMap", "configMapRef", "labelSelector")
        return {key: without_names(part) for key, part in value.items() if key not in left_out}
    if isinstance(value, list):
        return sorted(map(without_names, value), key=partial(json.dumps, sort_keys=True))
    return value


def test_its_autoscaler_and_policies_are_those_of_kustomize() -> None:
    def of(target: str, kind: str) -> Any:
        found = next(each["spec"] for each in render(target) if each["kind"] == kind)
        return {key: part for key, part in found.items() if key not in ("podSelector", "selector")}

    for kind in ("HorizontalPodAutoscaler", "ServiceMonitor", "PodDisruptionBudget"):
        assert of("helm/replicas", kind) == of("overlays/replicas", kind)
    policy = of("helm/replicas", "NetworkPolicy")
    assert policy == of("overlays/replicas", "NetworkPolicy") and len(policy["egress"]) == 2


def test_a_release_of_another_name_selects_its_own_pods_only() -> None:
    documents = {release: template(release=release).stdout for release in ("faces", "fairtrigger-posts")}
    assert "name: faces-fairtrigger\n" in documents["faces"] and "fairtrigger-posts" not in documents["faces"]
    assert "instance: fairtrigger-posts" in documents["fairtrigger-posts"]
    assert "fairtrigger-posts-fairtrigger" not in documents["fairtrigger-posts"]


def test_a_digest_wins_over_a_tag_and_a_claim_that_is_there_is_taken() -> None:
    (pod,) = pods(render("helm/named"))
    assert pod["containers"][0]["image"] == f"registry.example/fairtrigger-service@sha256:{'0' * 64}"
    claims = [each["persistentVolumeClaim"]["claimName"] for each in pod["volumes"] if "persistentVolumeClaim" in each]
    assert claims == ["bundles", "fairtrigger-store", "fairtrigger-data"]
    made = {each["metadata"]["name"] for each in render("helm/named") if each["kind"] == "PersistentVolumeClaim"}
    assert made == {"fairtrigger-store", "fairtrigger-data"}


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (("--set", "replicas=2"), "set `store` to the address of a Redis"),
        (("--set", "autoscaling.enabled=true"), "set `store` to the address of a Redis"),
        (("--set", "trainer.enabled=true"), "--set-file trainer.run=run.toml"),
        ((*RUN, "--set", f"store={REDIS}"), "set trainer.store to redis://trainer@"),
        (("--set", "store=redis://service:secret@redis:6379/0"), "store"),
        (("--set", "settings.STORE=/elsewhere"), "STORE"),
        (("--set", "replica=2"), "replica"),
        (("--set", "image.tag=latest"), "tag"),
        (("--set", "models={/elsewhere}"), "models"),
    ],
)
def test_what_cannot_be_is_refused(values: tuple[str, ...], told: str) -> None:
    done = template(*values)
    assert done.returncode != 0 and told in done.stderr, done.stderr


def test_it_is_of_the_projects_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    chart = read("deploy/helm/fairtrigger/Chart.yaml")
    assert chart["version"] == chart["appVersion"] == project["version"]
