"""GET models: what is served, and the card of each model."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import APIRouter

from service.lookup import Model, RunningService
from service.pooled_route import PooledRoute
from service.routes.rollout import rollout_document
from service.running import Running
from service.schemas import ModelCard, ModelList, TriggerUsed
from service.served import ServedModel

router = APIRouter(route_class=PooledRoute, tags=["models"])


@router.get("/v1/models", summary="The models served here")
def list_models(service: RunningService) -> ModelList:
    """Every model with its card."""
    return ModelList(models=[_card(model, service) for model in service.models.values()])


@router.get("/v1/models/{model}", summary="The card of one model")
def show_model(model: Model, service: RunningService) -> ModelCard:
    """What the frozen model is, what it accepts, and which trigger it serves now."""
    return _card(model, service)


def _card(model: ServedModel, service: Running) -> ModelCard:
    classifier, champion, processes = model.classifier, model.predictor.champion, service.processes
    spec = classifier.spec.image or classifier.spec.text
    assert spec
    return ModelCard(
        name=model.name,
        modality="image" if classifier.spec.image else "text",
        description=classifier.spec.description,
        fingerprint=classifier.fingerprint,
        preprocessing_fingerprint=classifier.preprocessing_fingerprint,
        labels=list(classifier.labels),
        pos_label=classifier.labels[classifier.pos_label],
        preprocessing=asdict(spec),
        limits=model.limits(),
        client_trigger=model.client_trigger,
        champion=TriggerUsed(version=champion.version, digest=champion.digest),
        rollout=rollout_document(model),
        device=", ".join(device for device, _ in processes.states) if processes else str(classifier.device),
        precision=model.precision,
        decoder=model.decoder,
    )
