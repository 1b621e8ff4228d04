"""Wrapping: a bundle from a frozen model as its owner has it, compared with the model's own pipeline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triggers.errors import ConfigError

if TYPE_CHECKING:
    from triggers.model import BundleSpec
    from triggers.model.bundle import Precision

LEAST_SPREAD = 0.01
"""Between the smallest and the largest score; with less, agreement proves little."""


@dataclass(frozen=True)
class WrappedModel:
    """A bundle that was written: its folder, its description with the comparison, and what to mind."""

    folder: Path
    spec: BundleSpec
    cautions: tuple[str, ...]


def wrap(
    source: str | Path,
    out: str | Path | None = None,
    *,
    name: str | None = None,
    label: str | None = None,
    positive: str | None = None,
    labels: Sequence[str] | None = None,
    threshold: float | None = None,
    max_tokens: int | None = None,
    image: Mapping[str, Any] | None = None,
    head: Mapping[str, Any] | None = None,
    output: str | None = None,
    weights: str | Path | None = None,
    arguments: Mapping[str, Any] | None = None,
    preset: str | None = None,
    protocol: str | None = None,
    endpoint: Mapping[str, Any] | None = None,
    precision: Precision = "float32",
    inputs: str | Path | Sequence[bytes | str] = (),
    accept_difference: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> WrappedModel:
    """Bundle of a frozen model, in folder `out` (default models/NAME), compared with the model's own pipeline.

    `source` and the other arguments are those of `fairtrigger wrap`: a transformers folder, torchvision:NAME,
    FILE.onnx, FILE.pt2, FILE.py:FUNCTION, MODULE:FUNCTION or an address. `inputs` to compare on too: a folder of
    images, a file with one text a line, or the files' bytes or texts themselves. `progress(done, parts)` hears of the
    comparison. Raises ConfigError, ModelError or InputError.
    """
    from triggers.sources import WrapOptions, read_source, write_source_bundle

    target = None if out is None else Path(out)
    options = WrapOptions(
        name=name or (target.name if target else None),
        label=label,
        positive=positive,
        labels=tuple(labels) if labels else None,
        threshold=threshold,
        max_tokens=max_tokens,
        image=image,
        head=head,
        output=output,
        weights=None if weights is None else Path(weights),
        arguments=arguments or {},
        preset=preset,
        endpoint=endpoint or {},
        protocol=protocol,
        precision=precision,
    )
    read = read_source(str(source), options)
    folder = target or Path("models") / (name or read.name)
    given = _own_inputs(Path(inputs), read.modality) if isinstance(inputs, str | Path) else list(inputs)
    heard = progress or (lambda done, parts: None)
    spec = write_source_bundle(read, folder, options, given, accept_difference=accept_difference, progress=heard)
    return WrappedModel(folder, spec, (*read.cautions, *_spread_cautions(spec)))


def _spread_cautions(spec: BundleSpec) -> list[str]:
    assert spec.comparison and spec.comparison.spread is not None
    if spec.comparison.spread >= LEAST_SPREAD:
        return []
    return [
        f"scores of {spec.labels[spec.pos_label]!r} differ by only {spec.comparison.spread:.1g} between all these "
        "inputs, so that their agreement proves little: give some of your own that the model tells apart, --inputs PATH"
    ]


def _own_inputs(path: Path, modality: str) -> list[bytes | str]:
    """The owner's own inputs. Raises ConfigError."""
    if modality == "image" and path.is_dir():
        return [each.read_bytes() for each in sorted(path.iterdir()) if each.is_file()]
    if modality == "text" and path.is_file():
        try:
            return [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
        except UnicodeDecodeError as error:
            raise ConfigError(f"--inputs {path} is no UTF-8: {error}.") from error
    raise ConfigError(f"--inputs {path}: give a folder of image files, or a UTF-8 file with one text a line.")
