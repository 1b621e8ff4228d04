"""A model's description and preprocessing, without its network."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias, cast

from torch import Tensor

from triggers.errors import ModelError
from triggers.fingerprint import json_digest
from triggers.model.bundle import BundleSpec, read_spec
from triggers.model.decision import DecisionRule
from triggers.model.text.tokenizer import load_tokenizer, tokenizer_digest
from triggers.preprocessing import ImageLimits, TextTemplate, TokenIds
from triggers.preprocessing.preprocess import decode_image, encode_text

Item: TypeAlias = Tensor | TokenIds
"""One preprocessed input: uint8 (C, H, W), or token ids."""

PREPROCESSING_VERSION = 1
NO_TEMPLATE = TextTemplate((), ())


class Preprocessor:
    """The part of a bundle that turns files and texts into items of a batch."""

    def __init__(self, spec: BundleSpec, tokenizer: Any = None) -> None:
        self.spec = spec
        self.tokenizer = tokenizer
        self.template = TextTemplate.of(tokenizer) if spec.text else NO_TEMPLATE
        if spec.text and spec.text.max_tokens <= self.template.tokens:
            message = f"{spec.name!r}: max_tokens is {spec.text.max_tokens}, and {self.template.tokens} special tokens"
            raise ModelError(f"{message} stand around every text: raise text.max_tokens in model.json.")
        self.preprocessing_fingerprint = json_digest(self._preprocessing())

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
    def decision(self) -> DecisionRule:
        """The rule from scores to one label."""
        return self.spec.decision

    @property
    def pad_id(self) -> int:
        """The token id that fills up short texts; what it is plays no part, since it is masked."""
        return self.tokenizer.pad_token_id or 0

    @property
    def output_widths(self) -> tuple[int, ...]:
        """Numbers of outputs that the network may have."""
        return self.spec.head.widths(len(self.labels))

    @property
    def description_digest(self) -> str:
        """Digest of all that `model.json` says."""
        return json_digest(self.spec.model_dump(mode="json"))

    def preprocess(self, data: bytes | str, limits: ImageLimits | None = None) -> Item:
        """Preprocess one image file or text into an item of a batch. Raises InputError."""
        if self.spec.image:
            return decode_image(cast(bytes, data), self.spec.image, limits)
        assert self.spec.text
        return encode_text(cast(str, data), self.tokenizer, self.spec.text, self.template)

    def _preprocessing(self) -> dict[str, Any]:
        if self.spec.image:
            return {"version": PREPROCESSING_VERSION, "image": self.spec.image.fields()}
        assert self.spec.text
        rules = {"version": PREPROCESSING_VERSION, "text": self.spec.text.fields()}
        return rules | {"tokenizer": tokenizer_digest(self.tokenizer)}


def load_preprocessor(folder: Path | str) -> Preprocessor:
    """The preprocessing of a bundle; its weights are not read. Raises ModelError."""
    folder = Path(folder)
    spec = read_spec(folder)
    return Preprocessor(spec, load_tokenizer(folder, spec))
