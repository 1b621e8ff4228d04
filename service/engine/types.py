"""What a model is, as far as decoding its inputs and naming it need to know; its network may be in another process.

A file as one input of a batch, before it is decoded.

One input of a prediction as it came, before anything is decoded.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import torch

from service.engine.version_routing import TriggerSelector
from triggers.errors import InputError
from triggers.model import BundleSpec, Item
from triggers.preprocessing import ImageLimits


class ModelDescription(Protocol):
    """What must be known of a model to decode its inputs and to say what it is."""

    @property
    def spec(self) -> BundleSpec: ...

    @property
    def fingerprint(self) -> str: ...

    @property
    def preprocessing_fingerprint(self) -> str: ...

    @property
    def device(self) -> torch.device: ...

    @property
    def name(self) -> str: ...

    @property
    def modality(self) -> str: ...

    @property
    def labels(self) -> tuple[str, ...]: ...

    @property
    def pos_label(self) -> int: ...

    def preprocess(self, data: bytes | str, limits: ImageLimits | None = None) -> Item:
        """One image file or text to what a batch is made of. Raises InputError."""
        ...


@dataclass(frozen=True, eq=False)
class EncodedFile:
    """An input that is decoded where it is computed."""

    data: bytes


class PredictInput(NamedTuple):
    """One input as it came, and what is wanted of it. `encoded` is an image still in base64.

    `key` decides between champion and challenger where the rollout decides.
    """

    kind: Literal["image", "text", "file"]
    payload: bytes | str
    group: str | None
    choice: TriggerSelector
    twin: bool
    encoded: bool = False
    key: str = ""

    def content(self, modality: str) -> bytes | str:
        """The image's bytes or the text, for a model of this modality. Raises InputError."""
        if self.kind not in ("file", modality):
            raise InputError("wrong_modality", f"This model takes {modality} inputs, not {self.kind}.")
        if self.encoded:
            return _from_base64(str(self.payload))
        return _text(self.payload) if modality == "text" and isinstance(self.payload, bytes) else self.payload


def _from_base64(text: str) -> bytes:
    """Standard base64, with or without a data: prefix."""
    encoded = text.partition(",")[2] if text.startswith("data:") else text
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError("bad_base64", f"`image` is not valid base64: {error}.") from error


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InputError("bad_encoding", f"The text is not UTF-8: {error}.") from error
