"""The writing of a bundle from a source: read it, write beside the target, compare with the source, then take the name.

A bundle that differs from its source is not kept, unless that is accepted; then it says so.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from triggers.allow_lists import AllowedHosts, Factories
from triggers.errors import ModelError
from triggers.model import load_bundle
from triggers.model.bundle import BundleSpec, ComparisonRecord, FactoryLoader, Precision, save_bundle
from triggers.model.endpoint import EndpointLoader
from triggers.sources.builtin_inputs import builtin_images, builtin_texts
from triggers.sources.canary_choice import NOISE_MARGIN
from triggers.sources.oracles import RawInput
from triggers.sources.source import ModelSource, WrapOptions, chosen_positive
from triggers.sources.source_comparison import PRECISION_TOLERANCE, SCORE_TOLERANCE, PartsDone, compare
from triggers.sources.stated import first_fault

KINDS = (
    "none of: a transformers folder, OWNER/NAME@COMMIT, torchvision:NAME, FILE.onnx, FILE.pt2, FILE.py:FUNCTION, "
    "https://..., grpc://..."
)


def read_source(source: str, options: WrapOptions) -> ModelSource:
    """The source that a word of the command line stands for. Raises ModelError."""
    from triggers.sources import endpoint, graph_file, module_function, torchvision_builder, transformers_folder

    path = Path(source)
    if source.startswith(endpoint.PREFIXES):
        return endpoint.read_endpoint(source, options)
    if source.startswith(torchvision_builder.PREFIX):
        return torchvision_builder.read_torchvision(source.removeprefix(torchvision_builder.PREFIX), options)
    if path.is_dir():
        return transformers_folder.read_transformers(path, options)
    if path.suffix in (".onnx", ".pt2") and path.is_file():
        return graph_file.FILE_READERS[path.suffix](path, options)
    if transformers_folder.HUB_ID.fullmatch(source):
        return transformers_folder.read_hub(source, options)
    if re.fullmatch(r"[^:]+:\w+", source):
        return module_function.read_module_function(source, options)
    raise ModelError(f"{source!r} is {KINDS}.")


def write_source_bundle(
    source: ModelSource,
    folder: Path,
    options: WrapOptions,
    inputs: Sequence[RawInput] = (),
    *,
    accept_difference: bool = False,
    progress: PartsDone = lambda _done, _parts: None,
) -> BundleSpec:
    """Write a source as a bundle, compared with its own pipeline on built-in and given inputs. Raises ModelError."""
    if folder.exists():
        raise ModelError(f"{folder} exists already; choose another with --out.")
    spec = _described(source, options)
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        source.copy(partial)
        save_bundle(partial, spec)
        built_in: Sequence[RawInput] = builtin_images() if spec.modality == "image" else builtin_texts()
        own = Factories((spec.loader.target.partition(":")[0],) if isinstance(spec.loader, FactoryLoader) else ())
        hosts = AllowedHosts.of_url(spec.loader.url) if isinstance(spec.loader, EndpointLoader) else None
        record = compare(
            load_bundle(partial, factories=own, hosts=hosts), source.oracle, [*built_in, *inputs], progress=progress
        )
        spec = spec.model_copy(
            update={"comparison": _judged(record, source.noise, spec.precision, accept_difference=accept_difference)}
        )
        save_bundle(partial, spec)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return spec


def _described(source: ModelSource, options: WrapOptions) -> BundleSpec:
    """What model.json will say. Raises ModelError."""
    try:
        return BundleSpec(
            name=bundle_name(options.name or source.name),
            modality=source.modality,
            loader=source.loader,
            labels=source.labels,
            pos_label=chosen_positive(source.labels, options),
            head=source.head,
            threshold=options.threshold,
            image=source.image,
            text=source.text,
            precision=options.precision,
            origin=dict(source.origin),
        )
    except ValidationError as error:
        raise ModelError(f"No bundle can be made of this: {first_fault(error)}.") from error


def _judged(
    record: ComparisonRecord, noise: float, precision: Precision, *, accept_difference: bool
) -> ComparisonRecord:
    """The record, marked if a difference is accepted. Raises ModelError for one that is not.

    Where the source's own answers change from one time to the next by `noise`, or a narrower precision than its own is
    wanted, labels may flip with it.
    """
    noise = max(noise * NOISE_MARGIN, PRECISION_TOLERANCE.get(precision, 0.0))
    if record.largest_difference <= max(SCORE_TOLERANCE, noise) and (not record.flips or noise > SCORE_TOLERANCE):
        return record
    if not accept_difference:
        raise ModelError(
            f"The bundle would not answer as the source does: {record.flips} of {record.inputs} labels differ from "
            f"{record.oracle}, scores by up to {record.largest_difference:.2g}. Nothing was written; "
            "--accept-difference writes it, and every card will say so."
        )
    return record.model_copy(update={"accepted": True})


def bundle_name(text: str) -> str:
    """A model name made of any text."""
    name = re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("-._")[:64]
    return name or "model"
