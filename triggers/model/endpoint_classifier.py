"""A classifier behind an address, in the place of one in memory: logits from its answers, no gradients, no weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from triggers.allow_lists import AllowedHosts
from triggers.errors import EndpointFailed, ModelChanged, ModelError
from triggers.model.bundle import BundleSpec
from triggers.model.classifier import Bank, FrozenClassifier, Trigger
from triggers.model.endpoint.canary import Canary
from triggers.model.endpoint.endpoint_loader import EndpointLoader
from triggers.model.endpoint.endpoint_network import EndpointNetwork
from triggers.model.endpoint.request_rows import rows_of, travelling_pixels
from triggers.model.endpoint.word_bank import Utf8Tokenizer, WordBank
from triggers.model.head import head_fault
from triggers.preprocessing import TextBatch
from triggers.trigger import TextBank, TextTrigger
from triggers.trigger.text import Position


class EndpointClassifier(FrozenClassifier):
    """A frozen classifier whose network is an endpoint.

    Its fingerprint is that of its canary: what the model answered when the bundle was made.
    """

    def __init__(self, spec: BundleSpec, network: EndpointNetwork, canary: Canary) -> None:
        self.canary = canary
        super().__init__(spec, network, Utf8Tokenizer() if spec.text else None)

    @property
    def endpoint(self) -> EndpointNetwork:
        """The network, as what it is."""
        return cast(EndpointNetwork, self.network)

    def verify(self) -> None:
        """Raise ModelChanged if the endpoint no longer gives its canary the outputs that were recorded."""
        self.check_canary(self.canary.difference(self.ask_canary()))

    def check_canary(self, difference: float) -> None:
        """Raise ModelChanged if outputs that differ so much are those of another model."""
        if not difference <= self.endpoint.loader.canary_tolerance:
            raise ModelChanged(
                f"The model of {self.name!r} changed: outputs of its canary differ by {difference:.2g} from those of "
                f"{self.fingerprint}. Its triggers were not made for what answers now."
            )

    def ask_canary(self) -> Tensor:
        """The endpoint's present outputs (N, O) for the canary's inputs."""
        return cast(Tensor, self.network(rows_of(self.canary.inputs, self.spec.image, self.endpoint.loader)))

    def accelerated(
        self, dtype: torch.dtype | None = None, *, compiled: bool = False, recompute: bool = False
    ) -> FrozenClassifier:
        """The classifier itself: nothing here computes."""
        return self

    def null_trigger(self) -> Trigger:
        """The trigger that leaves inputs as they are."""
        return TextTrigger.none(0) if self.spec.text else super().null_trigger()

    def bank(self, triggers: Sequence[Trigger]) -> Bank:
        """Triggers as one bank; of texts, of words. Raises ModelError."""
        if self.spec.image:
            return super().bank(triggers)
        bank = WordBank.of_words(cast(Sequence[TextTrigger], triggers))
        for position in set(bank.positions):
            self.check_position(position)
        return bank

    def check_position(self, position: Position) -> None:
        """Raise ModelError unless words can stand there: before the text, or behind it."""
        if position == "as_published":
            raise ModelError(
                "A model behind an address takes text alone: set trigger.position = after_cls or before_sep."
            )

    @property
    def embedding_matrix(self) -> Tensor:
        """None are known: (0, 0)."""
        return torch.zeros(0, 0)

    def check_length(self, trigger_tokens: int = 0) -> None:
        """The endpoint cuts long texts as it does."""

    def triggered_text_logits(self, batch: TextBatch, bank: TextBank, index: Tensor) -> Tensor:
        """Texts under their triggers, sent as text."""
        return self.logits(self.network(cast(WordBank, bank).texts(batch, index.tolist())))

    def _image_outputs(self, images: Tensor) -> Any:
        assert self.spec.image
        return self.network(travelling_pixels(images, self.spec.image, self.endpoint.loader))

    def logits(self, output: Any) -> Tensor:
        """Outputs as logits. Raises EndpointFailed for what cannot be the head's, such as probabilities above 1."""
        if self.spec.head.takes != "logits" and (fault := head_fault(self.spec.head, output)):
            raise EndpointFailed(fault)
        return super().logits(output)

    def _open_text(self, network: nn.Module) -> None:
        """Nothing to open: texts go as they are."""

    def _weights_digest(self) -> str:
        fields = {"endpoint": self.endpoint.loader.identity, **self.spec.fingerprint_fields()}
        return self.canary.digest(fields)


def load_endpoint(folder: Path, spec: BundleSpec, hosts: AllowedHosts | None = None) -> EndpointClassifier:
    """The classifier of an endpoint bundle, which is not asked yet. Raises ModelError."""
    assert isinstance(spec.loader, EndpointLoader)
    canary = Canary.load(folder)
    width = canary.outputs.shape[1] if canary.outputs.ndim == 2 else 0
    classifier = EndpointClassifier(spec, EndpointNetwork(spec.loader, hosts=hosts, width=width), canary)
    try:
        classifier.logits(canary.outputs)
    except ModelError as error:
        raise ModelError(f"{spec.name!r}: the canary does not fit the head of model.json: {error}") from error
    return classifier
