"""The frozen classifier: loaded once, never trained or changed; `verify` checks its weights."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import product
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor, nn

from triggers.errors import ModelError
from triggers.fingerprint import tensors_digest
from triggers.model.bundle import BundleSpec
from triggers.model.head import head_logits
from triggers.model.networks.fused_inference import accelerate
from triggers.model.networks.repeated_blocks import with_recomputation
from triggers.model.preprocessor import Item as Item
from triggers.model.preprocessor import Preprocessor
from triggers.model.text.positions import max_positions
from triggers.model.text.text_input import TextInput, input_embeddings, word_embeddings
from triggers.preprocessing import Inputs, Padding, TextBatch, TokenIds
from triggers.trigger import ImageBank, ImageTrigger, TextBank, TextTrigger
from triggers.trigger.text import EmbeddedText, Position

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
        self._compiled: Callable[..., Any] | None = None
        self._accelerated: dict[tuple[torch.dtype, bool, bool], FrozenClassifier] = {}
        if spec.image:
            self._mean = torch.tensor(spec.image.mean, device=self.device).view(-1, 1, 1)
            self._std = torch.tensor(spec.image.std, device=self.device).view(-1, 1, 1)
            self._reversed, self._pixel_dtype = spec.image.channel_order == "BGR", self.dtype
        if spec.text:
            self._open_text(network)

    def _open_text(self, network: nn.Module) -> None:
        self._text_input = TextInput(network)
        self.template = self._text_input.template(self.template)

    @property
    def dtype(self) -> torch.dtype:
        """The number type that the network computes in."""
        return next((weight.dtype for weight in self.network.parameters()), torch.float32)

    @property
    def half_precision(self) -> bool:
        """Whether the weights are of a type narrower than float32."""
        return self.dtype.itemsize < torch.float32.itemsize

    @property
    def compute_dtype(self) -> torch.dtype:
        """The number type that counts and services compute in, whatever that of the weights: as the bundle declares."""
        return torch.float32 if self.spec.precision == "float32" else torch.bfloat16

    @property
    def is_widened(self) -> bool:
        """Whether counts and services compute in a wider type than that of the weights."""
        return self.dtype.itemsize < self.compute_dtype.itemsize

    @property
    def is_compiled(self) -> bool:
        """Whether its passes are compiled."""
        return self._compiled is not None

    def verify(self) -> None:
        """Raise ModelError if the weights are no longer the ones that were loaded."""
        now = self._weights_digest()
        if now != self.fingerprint:
            raise ModelError(f"The weights of {self.name!r} changed: {now} is not {self.fingerprint}.")

    def accelerated(
        self, dtype: torch.dtype | None = None, *, compiled: bool = False, recompute: bool = False
    ) -> FrozenClassifier:
        """The same classifier for many passes: norms folded, channels last, in `dtype`, compiled if wanted.

        `dtype` None is `compute_dtype`. With `recompute` its blocks' activations are computed again for a gradient.
        It has the fingerprint of the original, whose answers it gives up to the rounding of `dtype`; it is for work
        inside a program and is never saved. Inputs may be of `dtype` or wider. Made once and kept.

        Raises ModelError if its network cannot be copied, or repeats no blocks.
        """
        key = (dtype or self.compute_dtype, compiled, recompute)
        made = self._accelerated.get(key)
        if made is None:
            made = self._accelerated[key] = self._faster(*key)
        return made

    def for_inference(self) -> FrozenClassifier:
        """The same classifier as it answers in an eager pass: a model of images on a CPU has its norms folded.

        Half precision is widened as `compute_dtype` says; a network that cannot be copied stays as it is.
        """
        weights = any(True for _ in self.network.parameters())
        folded = self.spec.image is not None and self.device.type == "cpu" and weights
        if not (folded or self.is_widened):
            return self
        try:
            return self.accelerated()
        except ModelError:
            return self

    def _faster(self, dtype: torch.dtype, compiled: bool, recompute: bool) -> FrozenClassifier:
        fast = copy.copy(self)
        if recompute:
            fast.network = with_recomputation(self.accelerated(dtype).network)
        else:
            fast.network = accelerate(self.network, dtype)
        if self.spec.image:
            fast._mean, fast._std, fast._pixel_dtype = self._mean.to(dtype), self._std.to(dtype), dtype
        if compiled:
            run = fast._image_outputs if self.spec.image else fast._text_outputs
            fast._compiled = torch.compile(run)
        return fast

    def with_network(self, network: nn.Module) -> FrozenClassifier:
        """The same classifier, which runs `network` in the place of its own, and is not accelerated any further."""
        other = copy.copy(self)
        other.network, other._compiled = network, None
        either = (False, True)
        other._accelerated = dict.fromkeys(product((torch.float32, torch.bfloat16), either, either), other)
        return other

    def batch(self, items: Sequence[Item]) -> Inputs:
        """Preprocessed items to one batch on the model's device."""
        if self.spec.image:
            return torch.stack(cast(list[Tensor], list(items))).to(self.device)
        return TextBatch.of([item.ids for item in cast(Sequence[TokenIds], items)], self.pad_id).to(self.device)

    @property
    def _padding(self) -> Padding:
        assert self.spec.text
        return self.spec.text.padding

    def null_trigger(self) -> Trigger:
        """The trigger that leaves this model's inputs as they are."""
        if self.spec.image:
            return ImageTrigger.none(*self.spec.image.pixel_shape)
        return TextTrigger.none(self._embedding().weight.shape[1])

    def bank(self, triggers: Sequence[Trigger]) -> Bank:
        """Triggers of this model's modality as one bank on the model's device. Raises ModelError."""
        if self.spec.image:
            return ImageBank.of(cast(Sequence[ImageTrigger], triggers)).to(self.device)
        bank = TextBank.of(cast(Sequence[TextTrigger], triggers)).to(self.device)
        for position in set(bank.positions):
            self.check_position(position)
        return replace(bank, embeddings=bank.embeddings.to(self._embedding().weight.dtype))

    def check_position(self, position: Position) -> None:
        """Raise ModelError if triggers cannot stand at this position of this model's texts."""
        self._text_input.check_position(position, self.template, self._padding)

    @cached_property
    def max_positions(self) -> int | None:
        """The most tokens of a text, special tokens and trigger included; None if the network sets no limit."""
        return max_positions(self.network)

    def check_length(self, trigger_tokens: int = 0) -> None:
        """Raise ModelError unless texts of `max_tokens` with a trigger of so many tokens have enough positions."""
        if self.spec.text is None or self.max_positions is None:
            return
        most = self.spec.text.max_tokens
        if most + trigger_tokens > self.max_positions:
            needed = f"{self.name!r}: texts of {most} tokens (text.max_tokens)"
            needed += f" and a trigger of {trigger_tokens}" if trigger_tokens else ""
            advice = f"lower text.max_tokens to {self.max_positions - trigger_tokens} in model.json"
            advice += ", or the trigger's tokens" if trigger_tokens else ""
            have = f"need {most + trigger_tokens} positions, the network has {self.max_positions}"
            raise ModelError(f"{needed} {have}: {advice}.")

    @property
    def embedding_matrix(self) -> Tensor:
        """The model's word embeddings (vocabulary, D), scaled where its network scales them."""
        return word_embeddings(self._embedding())

    @property
    def embed(self) -> Callable[[Tensor], Tensor]:
        """Token ids (...) to word embeddings (..., D)."""
        return self._embedding()

    def embedded(self, batch: TextBatch, bank: TextBank, index: Tensor, width: int | None = None) -> EmbeddedText:
        """Texts under triggers bank[index[n]], as this network takes them; see `TextBank.apply`."""
        left = self._padding == "left"
        return bank.apply(batch, self.embed, index, self.template, left=left, width=width)

    def triggered_text_logits(self, batch: TextBatch, bank: TextBank, index: Tensor) -> Tensor:
        """Logits (N, labels) of texts under triggers bank[index[n]]."""
        return self.text_logits(self.embedded(batch, bank, index))

    def image_logits(self, images: Tensor) -> Tensor:
        """Float images (N, C, H, W) in [0, 1], before mean/std, to logits (N, labels)."""
        return self.logits((self._compiled or self._image_outputs)(images))

    def text_logits(self, text: EmbeddedText) -> Tensor:
        """Token embeddings to logits (N, labels)."""
        if self._padding != "none":
            return self._text_logits(text)
        lengths = text.mask.sum(dim=1)
        rows = [(lengths == length).nonzero().squeeze(1) for length in lengths.unique()]
        parts = [self._text_logits(text.take(each, int(lengths[each[0]]))) for each in rows]
        return torch.cat(parts)[torch.cat(rows).argsort()]

    def _text_logits(self, text: EmbeddedText) -> Tensor:
        options = self._text_input.options(text)
        return self.logits((self._compiled or self._text_outputs)(text.embeds, **options))

    def _image_outputs(self, images: Tensor) -> Any:
        pixels = ((images.to(self._mean.dtype) - self._mean) / self._std).to(self._pixel_dtype)
        return self.network(pixels.flip(1) if self._reversed else pixels)

    def _text_outputs(self, embeds: Tensor, **options: Any) -> Any:
        return self.network(inputs_embeds=embeds, **options)

    def logits(self, output: Any) -> Tensor:
        """A network's output as float32 logits (N, labels). Raises ModelError if it does not fit the head."""
        return head_logits(self.spec.head, output, len(self.labels))

    def _embedding(self) -> nn.Embedding:
        return input_embeddings(self.network)

    def _weights_digest(self) -> str:
        return tensors_digest(self.network.state_dict(), self.spec.fingerprint_fields())
