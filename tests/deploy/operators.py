"""Documents of operators against their schemas, as far as these are at hand.

Kubeflow's are whole: its own package has a model of every field. Of KServe's InferenceService (v0.21,
serving.kserve.io_inferenceservices.yaml) and of the Prometheus operator's kinds (monitoring.coreos.com/v1) those fields
are written here that manifests may use; any other is refused. Pods in them are checked by the schemas of Kubernetes.
"""

from __future__ import annotations

from typing import Any

import kubernetes_validate
from jsonschema import Draft202012Validator
from kubeflow_trainer_api import models

VERSION = "1.34"
TEXT, COUNT, TEXTS = {"type": "string"}, {"type": "integer", "minimum": 0}, {"additionalProperties": {"type": "string"}}
DURATION = {"type": "string", "pattern": r"^(0|([0-9]+(y|w|d|h|m|s|ms))+)$"}


def _fields(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required, "properties": properties, "additionalProperties": False}


PREDICTOR = _fields(
    [],
    minReplicas=COUNT,
    maxReplicas=COUNT,
    scaleTarget=COUNT,
    scaleMetric={"enum": ["cpu", "memory", "concurrency", "rps"]},
    containerConcurrency=COUNT,
    timeout=COUNT,
    canaryTrafficPercent=COUNT,
    labels=TEXTS,
    annotations=TEXTS,
)
"""What a predictor has beside a pod's fields."""
CREDENTIALS = _fields(["name", "key"], name=TEXT, key=TEXT)
ENDPOINT = _fields(
    [],
    port=TEXT,
    path=TEXT,
    interval=DURATION,
    scrapeTimeout=DURATION,
    scheme={"enum": ["http", "https"]},
    authorization=_fields([], type=TEXT, credentials=CREDENTIALS),
)
SELECTOR = _fields([], matchLabels=TEXTS)
RULE = {"expr": TEXT, "for": DURATION, "labels": TEXTS, "annotations": TEXTS, "alert": TEXT}
GROUP = _fields(["name"], name={"type": "string", "minLength": 1}, rules={"items": _fields(["expr"], **RULE)})
SPECS = {
    "ServiceMonitor": _fields(
        ["endpoints", "selector"], endpoints={"type": "array", "items": ENDPOINT}, selector=SELECTOR, jobLabel=TEXT
    ),
    "PrometheusRule": _fields([], groups={"type": "array", "items": GROUP}),
}


def validate(document: dict[str, Any]) -> None:
    """Raises an error that names the field that does not fit, of Kubernetes' own kinds and of operators'."""
    kind, spec = document["kind"], document.get("spec", {})
    if document["apiVersion"] == "trainer.kubeflow.org/v1alpha1":
        read = getattr(models, f"TrainerV1alpha1{kind}").from_dict(document).to_dict()
        assert read == document, "a field that Kubeflow does not know"
    elif kind == "InferenceService":
        assert document["apiVersion"] == "serving.kserve.io/v1beta1" and set(spec) == {"predictor"}
        own = {name: value for name, value in spec["predictor"].items() if name in PREDICTOR["properties"]}
        Draft202012Validator(PREDICTOR).validate(own)
        pod = {name: value for name, value in spec["predictor"].items() if name not in own}
        _validate_pod(pod)
    elif kind in SPECS:
        assert document["apiVersion"] == "monitoring.coreos.com/v1"
        Draft202012Validator(SPECS[kind]).validate(spec)
    else:
        kubernetes_validate.validate(document, VERSION, strict=True)


def _validate_pod(spec: dict[str, Any]) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "any"}, "spec": spec}
    kubernetes_validate.validate(pod, VERSION, strict=True)
