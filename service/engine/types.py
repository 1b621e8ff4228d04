"""Types of prediction inputs: a model's description, an input as it arrived, and a file not yet decoded."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import torch

from service.engine.version_routing import TriggerSelector
from triggers.errors import InputError
from triggers.model import BundleSpec, Item
from triggers.model.decision import DecisionRule
from triggers.preprocessing import ImageLimits
from triggers.preprocessing.text_content import decode_text


class ModelDescription(Protocol):
    """Preprocessing and identity of a model, whose network may be in another process."""

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

    @property
    def decision(self) -> DecisionRule: ...

    def preprocess(self, data: bytes | str, limits: ImageLimits | None = None) -> Item:
        """Preprocess one image file or text into an item of a batch. Raises InputError."""
        ...


@dataclass(frozen=True, eq=False)
class EncodedFile:
    """An image file that is decoded where its batch is computed."""

    data: bytes


class PredictInput(NamedTuple):
    """One input as it arrived, its group, and the trigger asked for. `encoded`: an image still in base64.

    `key` decides between champion and challenger where the rollout decides. `twin`: also run without a trigger.
    `charset` is the encoding of a text that came as bytes.
    """

    kind: Literal["image", "text", "file"]
    payload: bytes | str
    group: str | None
    choice: TriggerSelector
    twin: bool
    encoded: bool = False
    key: str = ""
    charset: str = "utf-8"

    def content(self, modality: str) -> bytes | str:
        """The image's bytes or the text, for a model of this modality. Raises InputError."""
        if self.kind not in ("file", modality):
            raise InputError("wrong_modality", f"This model takes {modality} inputs, not {self.kind}.")
        if self.encoded:
            return _from_base64(str(self.payload))
        if modality == "text" and isinstance(self.payload, bytes):
            return decode_text(self.payload, self.charset)
        return self.payload


def _from_base64(text: str) -> bytes:
    """Standard base64, with or without a data: prefix."""
    encoded = text.partition(",")[2] if text.startswith("data:") else text
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError("bad_base64", f"`image` is not valid base64: {error}.") from error
