"""A model's description and preprocessing, without its network."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias, cast

from torch import Tensor

from triggers.fingerprint import json_digest
from triggers.model.bundle import BundleSpec, TransformersLoader, pretrained, read_spec, transformers_source
from triggers.model.decision import DecisionRule
from triggers.preprocessing import ImageLimits, TokenIds
from triggers.preprocessing.preprocess import decode_image, encode_text

Item: TypeAlias = Tensor | TokenIds
"""One preprocessed input: uint8 (C, S, S), or token ids."""

PREPROCESSING_VERSION = 1


class Preprocessor:
    """The part of a bundle that turns files and texts into items of a batch."""

    def __init__(self, spec: BundleSpec, tokenizer: Any = None) -> None:
        self.spec = spec
        self.tokenizer = tokenizer
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

    def preprocess(self, data: bytes | str, limits: ImageLimits | None = None) -> Item:
        """Preprocess one image file or text into an item of a batch. Raises InputError."""
        if self.spec.image:
            return decode_image(cast(bytes, data), self.spec.image, limits)
        assert self.spec.text
        return encode_text(cast(str, data), self.tokenizer, self.spec.text)

    def _preprocessing(self) -> dict[str, Any]:
        if self.spec.image:
            return {"version": PREPROCESSING_VERSION, "image": self.spec.image.fields()}
        assert self.spec.text
        rules = {"version": PREPROCESSING_VERSION, "text": self.spec.text.fields()}
        return rules | {"tokenizer": json_digest(self.tokenizer.backend_tokenizer.to_str())}


def load_preprocessor(folder: Path | str) -> Preprocessor:
    """The preprocessing of a bundle; its weights are not read. Raises ModelError."""
    folder = Path(folder)
    spec = read_spec(folder)
    return Preprocessor(spec, load_tokenizer(folder, spec))


def load_tokenizer(folder: Path, spec: BundleSpec) -> Any:
    """The tokenizer of a text bundle, None for images. Raises ModelError."""
    if spec.modality != "text":
        return None
    from transformers import AutoTokenizer

    source, revision = str(folder), "main"
    if isinstance(spec.loader, TransformersLoader):
        source, revision = transformers_source(folder, spec.loader), spec.loader.revision or "main"
    tokenizer = pretrained(AutoTokenizer, source, revision=revision)
    tokenizer("", verbose=False)  # clears a truncation or padding that was saved with it, before threads use it
    return tokenizer
