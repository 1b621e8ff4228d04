"""What a model is, as far as decoding its inputs and naming it need to know; its network may be in another process."""

from __future__ import annotations

from typing import Protocol

import torch

from triggers.model.bundle import BundleSpec
from triggers.model.preprocessor import Item
from triggers.preprocessing.preprocess import ImageLimits


class Description(Protocol):
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
