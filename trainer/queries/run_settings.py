"""How a run learns: from weights or from answers; what of its configuration needs weights; and the endpoint it asks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from trainer.config import RunConfig
from trainer.queries.answer_store import ANSWERS_FILE, AnswerStore
from trainer.queries.asked_network import ask_through
from trainer.queries.query_meter import QueryMeter
from triggers.errors import ConfigError
from triggers.model import BundleSpec, FrozenClassifier
from triggers.model.endpoint.endpoint_loader import EndpointLoader
from triggers.model.endpoint_classifier import EndpointClassifier

LEFT_OUT = (
    "The model is an endpoint: controls with untrained or black triggers, group probes and attributions, which need its"
    " weights or more queries, were left out."
)


def with_gradient(config: RunConfig, spec: BundleSpec, processes: int = 1) -> RunConfig:
    """The configuration with objective.gradient decided: what a model allows. Raises ConfigError."""
    endpoint, given = isinstance(spec.loader, EndpointLoader), config.objective.gradient
    if endpoint and given == "exact":
        raise ConfigError(
            f'objective.gradient is "exact", but the weights of {spec.name!r} are out of reach: set it to "scores", or'
            ' to "labels" where the endpoint answers nothing but labels.'
        )
    if endpoint and given is None:
        config = replace(config, objective=replace(config.objective, gradient="scores"))
    if not config.asks:
        for key in ("max_queries", "price_per_thousand"):
            if getattr(config.train, key) is not None:
                raise ConfigError(f'train.{key} has a meaning for objective.gradient = "scores" or "labels" only.')
        return config
    if processes > 1:
        raise ConfigError(
            f"{processes} processes: a model that is asked for answers is asked by one. Start one process."
        )
    if endpoint and config.train.max_queries is None:
        raise ConfigError(
            f"train.max_queries is missing: say how many rows {spec.name!r} may be asked; 200000 do for most runs."
        )
    if endpoint and config.baselines.systems:
        raise ConfigError("baselines.systems trains a model's weights, which an endpoint keeps: set it to [].")
    return config


def open_answers(config: RunConfig, classifier: FrozenClassifier, out: Path) -> FrozenClassifier:
    """An endpoint's classifier asked within the budget, with its answers kept in `out`; another classifier as it is."""
    if not isinstance(classifier, EndpointClassifier):
        return classifier
    assert config.train.max_queries
    meter = QueryMeter(config.train.max_queries, config.train.price_per_thousand)
    return ask_through(classifier, meter, AnswerStore(out / ANSWERS_FILE, classifier.fingerprint))
