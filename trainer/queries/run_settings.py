"""How a run learns: from weights or from answers; what of its configuration needs weights; and the endpoint it asks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
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
    if isinstance(spec.loader, EndpointLoader):
        labels_only = spec.loader.scores == "labels"
        if labels_only and given == "scores":
            raise ConfigError(f'objective.gradient is "scores", but {spec.name!r} answers labels: set it to "labels".')
        gradient = given or ("labels" if labels_only else "scores")
        config = replace(config, objective=replace(config.objective, gradient=gradient))
    if not config.asks:
        _check_nothing_for_asking(config)
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


def _check_nothing_for_asking(config: RunConfig) -> None:
    """Raise ConfigError for keys that only have a meaning where a model is asked."""
    keys = {
        "train.max_queries": config.train.max_queries,
        "train.price_per_thousand": config.train.price_per_thousand,
        "trigger.frequencies": config.trigger.frequencies,
    }
    for name, value in keys.items():
        if value is not None:
            raise ConfigError(f'{name} has a meaning for objective.gradient = "scores" or "labels" only.')


@contextmanager
def open_answers(config: RunConfig, classifier: FrozenClassifier, out: Path) -> Iterator[FrozenClassifier]:
    """An endpoint's classifier asked within the budget, with its answers kept in `out`; another classifier as it is.

    At the end its connections are closed.
    """
    if not isinstance(classifier, EndpointClassifier):
        yield classifier
        return
    assert config.train.max_queries
    meter = QueryMeter(config.train.max_queries, config.train.price_per_thousand)
    with (
        closing(classifier.endpoint.connection),
        closing(AnswerStore(out / ANSWERS_FILE, classifier.fingerprint)) as store,
    ):
        yield ask_through(classifier, meter, store)
