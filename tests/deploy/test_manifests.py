"""Every overlay renders, fits the schemas of Kubernetes, and agrees with what the service is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from service.config.settings import ENV_PREFIX, SECRETS, Settings
from tests.deploy.files import KUSTOMIZE, TARGETS, read, render
from tests.deploy.operators import validate
from trainer.config.run_config import load_config
from triggers.storage.url_utils import without_parameter

SERVING = ("base", "overlays", "kserve", "helm")
"""Beginnings of the targets that serve."""


def test_targets() -> None:
    assert {"overlays/cpu", "overlays/gpu", "overlays/replicas", "training/job", "training/nodes"} <= set(TARGETS)


@pytest.mark.parametrize("target", TARGETS)
def test_fits_the_schemas(target: str) -> None:
    for document in render(target):
        validate(document)


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        ("kserve", "InferenceService"),
        ("training/kubeflow", "TrainJob"),
        ("training/kubeflow", "TrainingRuntime"),
        ("overlays/replicas", "ServiceMonitor"),
        ("overlays/replicas", "PrometheusRule"),
    ],
)
def test_a_misspelt_field_of_an_operator_is_noticed(target: str, kind: str) -> None:
    document = next(each for each in render(target) if each["kind"] == kind)
    wrong = document["spec"] | {"misspelt": 1}
    if kind == "InferenceService":
        wrong = {"predictor": document["spec"]["predictor"] | {"misspelt": 1}}
    with pytest.raises(Exception, match=r"misspelt|that Kubeflow does not know"):
        validate(document | {"spec": wrong})


@pytest.mark.parametrize("target", TARGETS)
def test_containers_are_locked_up(target: str) -> None:
    for pod in pods(render(target)):
        assert pod["securityContext"]["runAsNonRoot"] and not pod["enableServiceLinks"]
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] and not context["allowPrivilegeEscalation"]
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]
            assert ":" in container["image"] and not container["image"].endswith(":latest")


@pytest.mark.parametrize("target", TARGETS)
def test_names_lead_somewhere(target: str) -> None:
    """Mounted folders have volumes, and settings exist."""
    documents = render(target)
    for pod in pods(documents):
        volumes = {each["name"] for each in pod["volumes"]}
        for container in pod["containers"]:
            assert {each["name"] for each in container["volumeMounts"]} <= volumes
            for variable in container.get("env", []):
                assert_setting(variable["name"])
    for document in documents:
        if document["kind"] == "ConfigMap":
            for name in (name for name in document["data"] if name.startswith(ENV_PREFIX)):
                assert_setting(name)


@pytest.mark.parametrize("target", [each for each in TARGETS if each.startswith(("base", "overlays", "helm"))])
def test_there_is_time_to_drain(target: str) -> None:
    documents = render(target)
    settings = next(each["data"] for each in documents if each["kind"] == "ConfigMap")
    pod = next(each for each in documents if each["kind"] == "Deployment")["spec"]["template"]["spec"]
    need = float(settings["FAIRTRIGGER_DRAIN_SECONDS"]) + float(settings["FAIRTRIGGER_GRACE_SECONDS"])
    assert pod["terminationGracePeriodSeconds"] >= need + 5
    probe = pod["containers"][0]["readinessProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] < float(settings["FAIRTRIGGER_DRAIN_SECONDS"])


def test_replicas_share_counts_and_scale() -> None:
    documents = render("overlays/replicas")
    deployment = next(each for each in documents if each["kind"] == "Deployment")
    environment = {each["name"] for each in deployment["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert "FAIRTRIGGER_RECEIPT_KEYS_FILE" in environment
    assert "replicas" not in deployment["spec"]  # else every apply undoes the autoscaler
    names = {(each["kind"], each["metadata"]["name"]) for each in documents}
    claims = {name for kind, name in names if kind == "PersistentVolumeClaim"}
    assert claims == {"fairtrigger-models"}  # nothing that several pods write
    kinds = {kind for kind, _ in names}
    assert {"HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy", "ServiceMonitor"} <= kinds


def test_replicas_and_trainers_share_one_store() -> None:
    settings = next(each["data"] for each in render("overlays/replicas") if each["kind"] == "ConfigMap")
    store = settings["FAIRTRIGGER_STORE"]
    assert settings["FAIRTRIGGER_LEDGER"] == store and store.startswith("redis://service@redis:6379/")
    published = store.replace("service", "trainer")
    folder = str(without_parameter(store, "password_file")[1]).rpartition("/")[0]
    trainers = [pod for name in ("job", "nodes", "retrain") for pod in pods(render(f"training/redis/{name}"))]
    assert len(trainers) == 3
    for pod in trainers:
        assert {"name": "FAIRTRIGGER_STORE", "value": published} in pod["containers"][0]["env"]
    for pod in (
        *trainers,
        *(pod for pod in pods(render("overlays/replicas")) if "redis" not in str(pod["containers"])),
    ):
        mounts = {mount["mountPath"]: mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
        volume = next(each for each in pod["volumes"] if each["name"] == mounts[folder])
        assert "/store" not in mounts
        keys = {item["key"] for item in volume["secret"]["items"]}
        assert ("redis_trainer_password" in keys) == (pod in trainers)
        assert ("redis_service_password" in keys) == (pod not in trainers)


@pytest.mark.parametrize("target", TARGETS)
def test_every_pod_has_a_network_policy(target: str) -> None:
    documents = render(target)
    chosen = [each["spec"]["podSelector"]["matchLabels"] for each in documents if each["kind"] == "NetworkPolicy"]
    for document in documents:
        if labels := labels_of(document):
            assert any(wanted.items() <= labels.items() for wanted in chosen), document["metadata"]["name"]
    for policy in (each for each in documents if each["kind"] == "NetworkPolicy"):
        assert set(policy["spec"]["policyTypes"]) == {"Ingress", "Egress"}


@pytest.mark.parametrize("target", [each for each in TARGETS if each.startswith(SERVING)])
def test_every_service_wants_keys(target: str) -> None:
    for pod in pods(render(target)):
        container = pod["containers"][0]
        if "redis" in container["image"] or "trainer" in container["image"]:
            continue
        text = json.dumps([container, render(target)])
        assert "/run/secrets/fairtrigger/api_keys.toml" in text
        secret = next(each["secret"] for each in pod["volumes"] if "secret" in each)
        assert {"key": "api_keys.toml", "path": "api_keys.toml"} in secret["items"]


def test_alerts_are_the_same_with_the_operator() -> None:
    rules = read("deploy/kustomize/components/watch/rules.yaml")
    assert rules["spec"] == read("deploy/watch/alerts.yml")


@pytest.mark.parametrize("folder", ["training/job", "training/nodes", "training/retrain"])
def test_run_is_one_the_trainer_reads(folder: str) -> None:
    config = load_config(KUSTOMIZE / folder / "run.toml", [])
    assert not config.publish.store  # FAIRTRIGGER_STORE says it


def labels_of(document: dict[str, Any]) -> dict[str, str]:
    """The labels of the pods that a document makes; {} if it makes none."""
    match document:
        case {"kind": "TrainingRuntime", "spec": {"template": {"spec": {"replicatedJobs": [job]}}}}:
            return dict(job["template"]["spec"]["template"]["metadata"]["labels"])
        case {"spec": {"jobTemplate": {"spec": {"template": {"metadata": {"labels": labels}}}}}}:
            return dict(labels)
        case {"spec": {"template": {"metadata": {"labels": labels}}}}:
            return dict(labels)
        case {"kind": "InferenceService", "metadata": {"name": name}}:
            return {"serving.kserve.io/inferenceservice": name}
    return {}


def pods(documents: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The pod of everything that makes some."""
    for document in documents:
        match document:
            case {"kind": "TrainingRuntime", "spec": {"template": {"spec": {"replicatedJobs": [job]}}}}:
                yield job["template"]["spec"]["template"]["spec"]
            case {"spec": {"jobTemplate": {"spec": {"template": {"spec": pod}}}}}:
                yield pod
            case {"spec": {"template": {"spec": pod}} as spec}:
                claims = [{"name": claim["metadata"]["name"]} for claim in spec.get("volumeClaimTemplates", [])]
                yield pod | {"volumes": pod["volumes"] + claims}
            case {"spec": {"predictor": pod}}:
                yield pod


def assert_setting(variable: str) -> None:
    """A variable of ours is a setting, or names a file with one."""
    if variable.startswith(ENV_PREFIX):
        name = variable.removeprefix(ENV_PREFIX).lower()
        assert name in Settings.model_fields or name.removesuffix("_file") in SECRETS, variable
