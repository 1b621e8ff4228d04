"""The frozen classifier: loaded once, never trained or changed; `verify` checks its weights."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor, nn

from triggers.errors import ModelError
from triggers.factories import Factories
from triggers.fingerprint import tensors_digest
from triggers.model.bundle import BundleSpec, build_network, read_spec
from triggers.model.fused_inference import accelerate
from triggers.model.head import head_logits
from triggers.model.preprocessor import Item as Item
from triggers.model.preprocessor import Preprocessor, load_tokenizer
from triggers.preprocessing import Inputs, TextBatch, TokenIds
from triggers.trigger import ImageBank, ImageTrigger, TextBank, TextTrigger
from triggers.trigger.text import EmbeddedText

Trigger: TypeAlias = ImageTrigger | TextTrigger
Bank: TypeAlias = ImageBank | TextBank


class FrozenClassifier(Preprocessor):
    """A classifier whose weights need no gradients and stay in eval mode; gradients still flow to its input.

    Logits are always (N, labels), whatever the network gives: head.py.
    """

    def __init__(self, spec: BundleSpec, network: nn.Module, tokenizer: Any = None, device: str = "cpu") -> None:
        super().__init__(spec, tokenizer)
        self.device = torch.device(device)
        self.network = network.requires_grad_(False).eval().to(self.device)
        self.fingerprint = self._weights_digest()
        self._takes_positions = "position_ids" in inspect.signature(network.forward).parameters
        self._compiled: Callable[..., Any] | None = None
        self._accelerated: dict[tuple[torch.dtype, bool], FrozenClassifier] = {}
        if spec.image:
            self._mean = torch.tensor(spec.image.mean, device=self.device).view(-1, 1, 1)
            self._std = torch.tensor(spec.image.std, device=self.device).view(-1, 1, 1)
            self._reversed = spec.image.channel_order == "BGR"

    @property
    def dtype(self) -> torch.dtype:
        """The number type that the network computes in."""
        return next((weight.dtype for weight in self.network.parameters()), torch.float32)

    def verify(self) -> None:
        """Raise ModelError if the weights are no longer the ones that were loaded."""
        now = self._weights_digest()
        if now != self.fingerprint:
            raise ModelError(f"The weights of {self.name!r} changed: {now} is not {self.fingerprint}.")

    def accelerated(self, dtype: torch.dtype = torch.float32, *, compiled: bool = False) -> FrozenClassifier:
        """The same classifier for many passes: norms folded, channels last, in `dtype`, compiled if wanted.

        It has the fingerprint of the original, whose answers it gives up to the rounding of `dtype`; it is for work
        inside a program and is never saved. Inputs may be of `dtype` or wider. Made once and kept.
        """
        made = self._accelerated.get((dtype, compiled))
        if made is None:
            made = self._accelerated[dtype, compiled] = self._faster(dtype, compiled)
        return made

    def _faster(self, dtype: torch.dtype, compiled: bool) -> FrozenClassifier:
        fast = copy.copy(self)
        fast.network = accelerate(self.network, dtype)
        if self.spec.image:
            fast._mean, fast._std = self._mean.to(dtype), self._std.to(dtype)
        if compiled:
            run = fast._image_outputs if self.spec.image else fast._text_outputs
            fast._compiled = torch.compile(run)
        return fast

    def batch(self, items: Sequence[Item]) -> Inputs:
        """Preprocessed items to one batch on the model's device."""
        if self.spec.image:
            return torch.stack(cast(list[Tensor], list(items))).to(self.device)
        ids = [item.ids for item in cast(Sequence[TokenIds], items)]
        return TextBatch.of(ids, self.tokenizer.pad_token_id or 0).to(self.device)

    def null_trigger(self) -> Trigger:
        """The trigger that leaves this model's inputs as they are."""
        if self.spec.image:
            return ImageTrigger.none(self.spec.image.channels, self.spec.image.height)
        return TextTrigger.none(self.embedding_matrix.shape[1])

    def bank(self, triggers: Sequence[Trigger]) -> Bank:
        """Triggers of this model's modality as one bank on the model's device."""
        if self.spec.image:
            return ImageBank.of(cast(Sequence[ImageTrigger], triggers)).to(self.device)
        bank = TextBank.of(cast(Sequence[TextTrigger], triggers)).to(self.device)
        return replace(bank, embeddings=bank.embeddings.to(self.embedding_matrix.dtype))

    @property
    def embedding_matrix(self) -> Tensor:
        """The model's word embeddings (vocabulary, D)."""
        return self._embedding().weight

    @property
    def embed(self) -> Callable[[Tensor], Tensor]:
        """Token ids (...) to word embeddings (..., D)."""
        return self._embedding()

    def image_logits(self, images: Tensor) -> Tensor:
        """Float images (N, C, H, W) in [0, 1], before mean/std, to logits (N, labels)."""
        return self._logits((self._compiled or self._image_outputs)(images))

    def text_logits(self, text: EmbeddedText) -> Tensor:
        """Token embeddings to logits (N, labels)."""
        positions = {} if text.position_ids is None else {"position_ids": self._positions(text.position_ids)}
        return self._logits((self._compiled or self._text_outputs)(text.embeds, text.mask, **positions))

    def _image_outputs(self, images: Tensor) -> Any:
        pixels = (images.to(self._mean.dtype) - self._mean) / self._std
        return self.network(pixels.flip(1) if self._reversed else pixels)

    def _text_outputs(self, embeds: Tensor, mask: Tensor, **positions: Tensor) -> Any:
        return self.network(inputs_embeds=embeds, attention_mask=mask, **positions)

    def _positions(self, natural: Tensor) -> Tensor:
        """Explicit position ids; RoBERTa-like models count from padding_idx + 1."""
        if not self._takes_positions:
            message = f"{type(self.network).__name__} takes no position ids, so it cannot run an as_published trigger."
            raise ModelError(message + " Train with trigger.position = after_cls or before_sep.")
        table = next((m for n, m in self.network.named_modules() if n.endswith("position_embeddings")), None)
        offset = getattr(table, "padding_idx", None)
        return natural if offset is None else natural + offset + 1

    def _logits(self, output: Any) -> Tensor:
        return head_logits(self.spec.head, output, len(self.labels))

    def _embedding(self) -> nn.Embedding:
        return cast(nn.Embedding, cast(Any, self.network).get_input_embeddings())

    def _weights_digest(self) -> str:
        return tensors_digest(self.network.state_dict(), self.spec.fingerprint_fields())


def load_bundle(folder: Path | str, device: str = "cpu", factories: Factories | None = None) -> FrozenClassifier:
    """Load a model bundle. `factories` may build its network; default: those that the environment lists.

    Raises ModelError with what to mend.
    """
    folder = Path(folder)
    spec = read_spec(folder)
    network = build_network(folder, spec, Factories.of_environment() if factories is None else factories)
    return FrozenClassifier(spec, network, load_tokenizer(folder, spec), device)
