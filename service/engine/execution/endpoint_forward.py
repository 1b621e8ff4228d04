"""The forward pass of a model behind an endpoint, which is asked only while it is known to be that model."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from service.engine.endpoint_health import EndpointHealth
from service.engine.execution.eager_forward import EagerForward
from triggers.errors import EndpointUnavailable, ModelError
from triggers.model import Bank, Item
from triggers.model.endpoint_classifier import EndpointClassifier


class EndpointForward(EagerForward):
    """Asks an endpoint from `concurrency` threads at once. Raises EndpointUnavailable at once while it is away."""

    def __init__(self, classifier: EndpointClassifier, health: EndpointHealth) -> None:
        super().__init__(classifier, max_concurrency=classifier.endpoint.loader.concurrency)
        self._health = health

    def warm(self, blank: Item) -> None:
        """Nothing to do: nothing is computed here."""

    def _run(self, bank: Bank, items: Sequence[Item], rows: Sequence[int]) -> Tensor:
        triggers = any(rows)  # row 0 is no trigger
        self._health.check(triggers=triggers)
        try:
            found = super()._run(bank, items, rows)
        except (EndpointUnavailable, ModelError) as error:
            self._health.failed(error)
            raise
        self._health.state.check(triggers=triggers)  # meanwhile another request may have found another model there
        self._health.succeeded()
        return found
