"""A source: a frozen model as its owner has it, read into what a bundle needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from triggers.errors import ModelError
from triggers.model.bundle import Loader, Precision
from triggers.model.head import Head
from triggers.preprocessing import ImageSpec, TextSpec
from triggers.sources.oracles import Oracle


@dataclass(frozen=True)
class WrapOptions:
    """What the owner says of a source; whatever is None is asked of the source itself."""

    name: str | None = None
    label: str | None = None
    positive: str | None = None
    labels: tuple[str, ...] | None = None
    threshold: float | None = None
    max_tokens: int | None = None
    image: Mapping[str, Any] | None = None
    head: Mapping[str, Any] | None = None
    weights: Path | None = None
    preset: str | None = None
    output: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    endpoint: Mapping[str, Any] = field(default_factory=dict)
    protocol: str | None = None
    precision: Precision = "float32"


@dataclass(frozen=True)
class ModelSource:
    """A model read from where it lies: what model.json will say, and how its files get into the bundle.

    `origin` says for each part of model.json where it was taken from. `copy` writes weights and other files. `noise` is
    how much a score of its own pipeline changes from one time to the next, `cautions` what the owner should know.
    """

    name: str
    modality: str
    loader: Loader
    labels: tuple[str, ...]
    head: Head
    copy: Callable[[Path], None]
    oracle: Oracle
    origin: Mapping[str, str]
    image: ImageSpec | None = None
    text: TextSpec | None = None
    noise: float = 0.0
    cautions: tuple[str, ...] = ()


def chosen_positive(labels: tuple[str, ...], options: WrapOptions) -> int:
    """The index of the label whose rate is the selection rate. Raises ModelError unless it is plain which one."""
    if options.positive is None and len(labels) == 2:
        return 1
    if options.positive in labels:
        return labels.index(options.positive)
    known = ", ".join(labels[:20]) + (", ..." if len(labels) > 20 else "")
    if options.positive is None:
        raise ModelError(f"Which label counts as selected? Give --positive with one of: {known}.")
    raise ModelError(f"--positive {options.positive!r} is none of the labels: {known}.")
