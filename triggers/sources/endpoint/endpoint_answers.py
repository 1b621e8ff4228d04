"""What an endpoint shows when it is asked: names of its scores, binary form, the meaning of its outputs, its canary."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from torch import Tensor

from triggers.allow_lists import AllowedHosts
from triggers.errors import EndpointUnavailable, ModelError
from triggers.model.endpoint.canary import Canary
from triggers.model.endpoint.endpoint_loader import EndpointLoader
from triggers.model.endpoint.endpoint_network import EndpointNetwork, open_connection
from triggers.model.endpoint.protocols import UnnamedColumns
from triggers.model.endpoint.request_rows import rows_of
from triggers.model.head import SUM_TOLERANCE, Head, LabelsHead, head_fault
from triggers.sources.canary_choice import NOISE_MARGIN, AnswerNoise, measured_noise, spread_rows
from triggers.sources.endpoint.endpoint_description import DescribedEndpoint
from triggers.sources.source import WrapOptions
from triggers.sources.stated import stated_head

LEAST_TOLERANCE = 1e-3
"""Of an output of the canary, where the endpoint answers with less noise."""
BINARY_TOLERANCE = 1e-3
"""Largest difference of an output between tensors in JSON and in binary form."""

ScoresOf: TypeAlias = Callable[[Tensor], Tensor]
"""Outputs (N, O) to scores (N, labels)."""


class EndpointInquiry:
    """Asks an endpoint for outputs of canary inputs, in one way or another, over one connection."""

    def __init__(self, described: DescribedEndpoint, hosts: AllowedHosts) -> None:
        self.described = described
        self._connection = open_connection(described.loader, hosts)

    def network(self, loader: EndpointLoader) -> EndpointNetwork:
        """The network of a bundle that says this."""
        return EndpointNetwork(loader, self._connection)

    def outputs(self, loader: EndpointLoader, inputs: Mapping[str, Tensor]) -> Tensor:
        """Outputs (N, O) of inputs. Raises EndpointUnavailable or EndpointFailed."""
        found: Tensor = self.network(loader)(rows_of(inputs, self.described.image, loader))
        return found

    def first_answers(
        self, inputs: Mapping[str, Tensor], labels: tuple[str, ...] | None
    ) -> tuple[EndpointLoader, Tensor]:
        """The loader, with the names of its columns if answers name them, and outputs in the quickest form.

        Raises ModelError for names that are not `labels`.
        """
        loader = self.described.loader
        if loader.scores == "labels" and loader.columns is None and labels:
            loader = loader.model_copy(update={"columns": labels})
        try:
            return self._binary_if_taken(loader, inputs, self.outputs(loader, inputs))
        except UnnamedColumns as error:
            names = error.names
        if labels is not None and set(labels) != set(names):
            raise ModelError(
                f"The endpoint names its scores {', '.join(names)}, --labels {', '.join(labels)}: leave out "
                "--labels, or give the order of the outputs, --endpoint '{\"columns\": [...]}'."
            )
        loader = loader.model_copy(update={"columns": labels or names})
        return loader, self.outputs(loader, inputs)

    def _binary_if_taken(
        self, loader: EndpointLoader, inputs: Mapping[str, Tensor], outputs: Tensor
    ) -> tuple[EndpointLoader, Tensor]:
        """The same in binary form, if the endpoint takes that and answers the same."""
        if loader.protocol != "v2" or "binary" in loader.model_fields_set:
            return loader, outputs
        forms: list[dict[str, Any]] = [{"binary": True}]
        if loader.encoding in ("png", "jpeg") and "file_bytes" not in loader.model_fields_set:
            forms.insert(0, {"binary": True, "file_bytes": "raw"})
        for form in forms:
            tried = loader.model_copy(update=form)
            try:
                found = self.outputs(tried, inputs)
            except (ModelError, EndpointUnavailable):  # some servers end without a word
                continue
            if found.shape == outputs.shape and float((found - outputs).abs().max()) <= BINARY_TOLERANCE:
                return tried, found
        return loader, outputs

    def canary(
        self, loader: EndpointLoader, candidates: Mapping[str, Tensor], outputs: Tensor, scores: ScoresOf
    ) -> tuple[Canary, AnswerNoise]:
        """Those inputs that the model tells apart, and the noise of its answers to them. Raises ModelError."""
        chosen = spread_rows(outputs)
        inputs = {name: each[chosen] for name, each in candidates.items()}
        together = self.outputs(loader, inputs)
        alone = self.outputs(loader.model_copy(update={"max_batch": 1}), inputs)
        noise = measured_noise([together, alone, outputs[chosen]], scores, f"The endpoint {loader.url}")
        return Canary(inputs, together), noise

    def jpeg_loss(self, loader: EndpointLoader, inputs: Mapping[str, Tensor], outputs: Tensor, scores: ScoresOf) -> str:
        """How far scores of JPEG files are from those of PNG files, in words."""
        try:
            lossless = self.outputs(loader.model_copy(update={"encoding": "png", "quality": None}), inputs)
        except ModelError:
            return "; how much it loses is not known: the endpoint takes no png"
        away = float((scores(lossless) - scores(outputs)).abs().max())
        return f": scores differ by up to {away:.2g} from those of png on {len(outputs)} built-in pictures"


def tolerant_loader(loader: EndpointLoader, noise: AnswerNoise) -> EndpointLoader:
    """The loader with a tolerance that the endpoint's own noise does not reach. Raises ModelError."""
    if "canary_tolerance" not in loader.model_fields_set:
        return loader.model_copy(update={"canary_tolerance": max(LEAST_TOLERANCE, NOISE_MARGIN * noise.outputs)})
    if loader.canary_tolerance <= noise.outputs:
        raise ModelError(
            f"canary_tolerance is {loader.canary_tolerance:.1e}, but outputs of {loader.url} differ by "
            f"{noise.outputs:.1e} from one time to the next: at least {NOISE_MARGIN * noise.outputs:.1e} is needed."
        )
    return loader


def labels_and_head(
    loader: EndpointLoader, outputs: Tensor, activation: str | None, options: WrapOptions
) -> tuple[tuple[str, ...], Head, str]:
    """Labels and head as stated or as seen, and where the head is from. Raises ModelError where it may be two things.

    `activation` is what is known to have made the outputs: softmax, sigmoid.
    """
    if loader.scores == "labels":
        assert loader.columns
        return options.labels or loader.columns, LabelsHead(), "labels alone: scores are 1 and 0"
    activation = activation or _seen_activation(loader, outputs, options)
    labels, head, place = stated_head(options, outputs.shape[1], activation)
    if fault := head_fault(head, outputs):
        raise ModelError(f"{fault} Say with --head what the outputs of {loader.url} mean.")
    if place != "--head":
        seen = {"softmax": "rows add up to 1", "sigmoid": "probabilities of their own"}.get(str(activation), "logits")
        low, high = float(outputs.min()), float(outputs.max())
        place = f"as seen in {len(outputs)} answers: {seen}, from {low:.3g} to {high:.3g}"
    return labels, head, place


def _seen_activation(loader: EndpointLoader, outputs: Tensor, options: WrapOptions) -> str | None:
    """What made the outputs, as far as they show it. Raises ModelError where they may be two things."""
    low, high = float(outputs.min()), float(outputs.max())
    if options.head is not None or low < 0 or high > 1:
        return None
    if outputs.shape[1] > 1 and float((outputs.sum(dim=1) - 1).abs().max()) <= SUM_TOLERANCE:
        return "softmax"
    if loader.columns:
        return "sigmoid"
    kinds = '{"kind": "probabilities"}\' or \'{"kind": "sigmoid"}'
    if outputs.shape[1] > 1:
        kinds = '{"kind": "multi_label", "outputs": N, "index": I, "gives": "probabilities"}\' or \'{"kind": "softmax"}'
    raise ModelError(
        f"The outputs of {loader.url} lie between {low:.3g} and {high:.3g}: probabilities, or numbers before a softmax "
        f"or sigmoid? Say --head '{kinds}'."
    )
