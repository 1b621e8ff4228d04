"""Model routes: the served models and their cards."""

from __future__ import annotations

from fastapi import APIRouter

from service.api.dependencies import Model, Runtime
from service.api.pooled_route import PooledRoute
from service.api.routes.rollout import rollout_document
from service.api.schemas import ComparisonOut, FailedModelOut, ModelCard, ModelList, TriggerUsed
from service.engine import ServedModel
from service.runtime import ServiceRuntime

router = APIRouter(route_class=PooledRoute, tags=["models"])


@router.get("/v1/models", summary="The models served here")
def list_models(service: Runtime) -> ModelList:
    """Every model with its card; `failed` are those that are not served, and why."""
    failed = [FailedModelOut(name=each.name, reason=each.reason) for each in service.failed.values()]
    return ModelList(models=[_card(model, service) for model in service.models.values()], failed=failed)


@router.get("/v1/models/{model}", summary="The card of one model")
def show_model(model: Model, service: Runtime) -> ModelCard:
    """What the frozen model is, what it accepts, and which trigger it serves now."""
    return _card(model, service)


def _card(model: ServedModel, service: ServiceRuntime) -> ModelCard:
    classifier, state = model.classifier, model.state
    spec = classifier.spec.image or classifier.spec.text
    assert spec
    comparison = classifier.spec.comparison
    return ModelCard(
        name=model.name,
        modality="image" if classifier.spec.image else "text",
        description=classifier.spec.description,
        fingerprint=classifier.fingerprint,
        preprocessing_fingerprint=classifier.preprocessing_fingerprint,
        labels=list(classifier.labels),
        pos_label=classifier.labels[classifier.pos_label],
        head=classifier.spec.head.model_dump(mode="json"),
        threshold=classifier.spec.threshold,
        origin=classifier.spec.origin,
        comparison=comparison and ComparisonOut(**comparison.model_dump()),
        preprocessing=spec.fields(),
        limits=model.limits(),
        client_trigger=model.client_trigger,
        champion=TriggerUsed(version=state.champion, digest=state.digest(state.champion)),
        rollout=rollout_document(model),
        device=", ".join(device for device, _ in service.devices()) if service.devices else str(classifier.device),
        precision=model.precision,
        decoder=model.decoder,
        endpoint=model.backend.endpoint and model.backend.endpoint.to_dict(),
    )
