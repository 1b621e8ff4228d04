"""The frozen classifier: loaded once, never trained, never changed, and able to prove it."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor, nn

from triggers.accelerated import accelerated
from triggers.bundle import BundleSpec, TransformersLoader, build_network, read_spec, transformers_source
from triggers.errors import ModelError
from triggers.fingerprint import json_digest, tensors_digest
from triggers.image import ImageBank, ImageTrigger
from triggers.preprocess import ImageLimits, Inputs, TextBatch, TokenIds, decode_image, encode_text
from triggers.text import EmbeddedText, TextBank, TextTrigger

Trigger: TypeAlias = ImageTrigger | TextTrigger
Bank: TypeAlias = ImageBank | TextBank
Item: TypeAlias = Tensor | TokenIds
"""One preprocessed input: uint8 (C, S, S), or token ids."""

PREPROCESSING_VERSION = 1


class FrozenClassifier:
    """A classifier whose weights need no gradients and stay in eval mode; gradients still flow to its input.

    Logits are always (N, labels): a network with a single logit o counts as two with logits (0, o).
    """

    def __init__(self, spec: BundleSpec, network: nn.Module, tokenizer: Any = None, device: str = "cpu") -> None:
        self.spec = spec
        self.tokenizer = tokenizer
        self.device = torch.device(device)
        self.network = network.requires_grad_(False).eval().to(self.device)
        self.fingerprint = self._weights_digest()
        self.preprocessing_fingerprint = json_digest(self._preprocessing())
        self._takes_positions = "position_ids" in inspect.signature(network.forward).parameters
        self._compiled: Callable[..., Any] | None = None
        self._accelerated: dict[tuple[torch.dtype, bool], FrozenClassifier] = {}
        if spec.image:
            self._mean = torch.tensor(spec.image.mean, device=self.device).view(-1, 1, 1)
            self._std = torch.tensor(spec.image.std, device=self.device).view(-1, 1, 1)

    @property
    def name(self) -> str:
        """The model's name in URLs and in the store."""
        return self.spec.name

    @property
    def modality(self) -> str:
        """`image` or `text`."""
        return self.spec.modality

    @property
    def labels(self) -> tuple[str, ...]:
        """Label names in the order of the logits."""
        return self.spec.labels

    @property
    def pos_label(self) -> int:
        """Index of the label whose rate is the selection rate."""
        return self.spec.pos_label

    @property
    def dtype(self) -> torch.dtype:
        """What the network computes in."""
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
        fast.network = accelerated(self.network, dtype)
        if self.spec.image:
            fast._mean, fast._std = self._mean.to(dtype), self._std.to(dtype)
        if compiled:
            run = fast._image_outputs if self.spec.image else fast._text_outputs
            fast._compiled = torch.compile(run)
        return fast

    def preprocess(self, data: bytes | str, limits: ImageLimits | None = None) -> Item:
        """One image file or text to what a batch is made of. Raises InputError."""
        if self.spec.image:
            return decode_image(cast(bytes, data), self.spec.image, limits)
        assert self.spec.text
        return encode_text(cast(str, data), self.tokenizer, self.spec.text)

    def batch(self, items: Sequence[Item]) -> Inputs:
        """Preprocessed items to one batch on the model's device."""
        if self.spec.image:
            return torch.stack(cast(list[Tensor], list(items))).to(self.device)
        ids = [item.ids for item in cast(Sequence[TokenIds], items)]
        return TextBatch.of(ids, self.tokenizer.pad_token_id or 0).to(self.device)

    def null_trigger(self) -> Trigger:
        """The trigger that leaves this model's inputs as they are."""
        if self.spec.image:
            return ImageTrigger.none(self.spec.image.channels, self.spec.image.size)
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
        """Float images (N, C, S, S) in [0, 1], before mean/std, to logits (N, labels)."""
        return self._logits((self._compiled or self._image_outputs)(images))

    def text_logits(self, text: EmbeddedText) -> Tensor:
        """Token embeddings to logits (N, labels)."""
        positions = {} if text.position_ids is None else {"position_ids": self._positions(text.position_ids)}
        return self._logits((self._compiled or self._text_outputs)(text.embeds, text.mask, **positions))

    def _image_outputs(self, images: Tensor) -> Any:
        return self.network((images.to(self._mean.dtype) - self._mean) / self._std)

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
        logits: Tensor = output if isinstance(output, Tensor) else output.logits
        if logits.shape[1] == 1:
            logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
        if logits.shape[1] != len(self.labels):
            raise ModelError(f"The network has {logits.shape[1]} outputs for {len(self.labels)} labels.")
        return logits.float()

    def _embedding(self) -> nn.Embedding:
        return cast(nn.Embedding, cast(Any, self.network).get_input_embeddings())

    def _weights_digest(self) -> str:
        return tensors_digest(self.network.state_dict())

    def _preprocessing(self) -> dict[str, Any]:
        if self.spec.image:
            return {"version": PREPROCESSING_VERSION, "image": asdict(self.spec.image)}
        assert self.spec.text
        rules = {"version": PREPROCESSING_VERSION, "text": asdict(self.spec.text)}
        return rules | {"tokenizer": json_digest(self.tokenizer.backend_tokenizer.to_str())}


def load_bundle(folder: Path | str, device: str = "cpu") -> FrozenClassifier:
    """Load a model bundle. Raises ModelError with what to mend."""
    folder = Path(folder)
    spec = read_spec(folder)
    return FrozenClassifier(spec, build_network(folder, spec), _tokenizer(folder, spec), device)


def _tokenizer(folder: Path, spec: BundleSpec) -> Any:
    if spec.modality != "text":
        return None
    from transformers import AutoTokenizer

    source, revision = str(folder), "main"
    if isinstance(spec.loader, TransformersLoader):
        source, revision = transformers_source(folder, spec.loader), spec.loader.revision or "main"
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, revision=revision)
    except (OSError, ValueError) as error:
        raise ModelError(f"transformers cannot load a tokenizer from {source!r}: {error}") from error
    tokenizer("", verbose=False)  # clears a truncation or padding that was saved with it, before threads use it
    return tokenizer
