"""Models as people have them, of many kinds, each wrapped and compared with its own pipeline on odd inputs.

python -m tests.soak.model_matrix [--jobs 14] [--out docs/results/models.json] [NAME ...]
python -m tests.soak.model_matrix --table docs/results/models.json      the table of docs/models.md
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from tests.real_data import SHARED

if TYPE_CHECKING:
    from triggers.sources import ModelSource, WrapOptions

INPUTS = 200
LARGEST_DIFFERENCE, LEAST_SPREAD = 1e-4, 0.01
PACKAGES = ("torch", "torchvision", "transformers", "tokenizers", "onnx", "onnxruntime", "pillow", "numpy")
FACES, EXAMPLE = SHARED / "models" / "dlib-faces", Path(__file__).parents[2] / "examples" / "dlib-age"


@dataclass(frozen=True)
class Row:
    """What became of one configuration: how far its bundle is from its own pipeline, or why it is refused."""

    kind: str
    name: str
    settings: str
    padding: str = ""
    largest_difference: float = 0.0
    flips: int = 0
    spread: float = 0.0
    inputs: int = 0
    refusal: str = ""
    fault: str = ""
    """What is wrong with this row; empty if nothing is."""
    seconds: float = 0.0

    def line(self) -> str:
        """A row of the table."""
        said = (
            f"refused: {self.refusal}"
            if self.refusal
            else f"{self.largest_difference:.1e} | {self.flips} | {self.spread:.2f} | {self.inputs}"
        )
        marked = f" | FAULT: {self.fault}" if self.fault else ""
        return f"| {self.kind} | {self.name} | {self.padding} | {said} | {self.seconds:.0f} s{marked}"


@dataclass(frozen=True)
class Configuration:
    """One model: `build` makes it in a folder, and says by which word and options it is wrapped.

    `padding` is the one that must be found; `refusal` is part of the line in which it must be refused.
    """

    kind: str
    name: str
    settings: str
    build: Callable[[Path], tuple[str, WrapOptions]]
    padding: str = ""
    refusal: str = ""


def configurations() -> list[Configuration]:
    """Every configuration, those that take longest first."""
    return [*_torchvision(), *_files(), *_image_folders(), *_text_folders()]


def _torchvision() -> Iterator[Configuration]:
    from tests.soak.image_matrix import BUILDERS

    for builder in BUILDERS:
        said = json.dumps({"preset": builder.preset, **builder.arguments})
        yield Configuration("torchvision", f"{builder.name} {builder.preset}", said, partial(_builder, builder))


def _builder(builder: Any, folder: Path) -> tuple[str, WrapOptions]:
    from tests.soak.image_matrix import LABELS, builder_weights
    from triggers.sources import WrapOptions

    folder.mkdir()
    weights = builder_weights(folder / "weights.safetensors", builder)
    named = {"labels": LABELS, "positive": LABELS[1], "preset": builder.preset, "arguments": builder.arguments}
    return f"torchvision:{builder.name}", WrapOptions(weights=weights, **named)


def _image_folders() -> Iterator[Configuration]:
    from tests.soak.image_matrix import IMAGE_FAMILIES

    old = tuple(map(int, version("torchvision").split("+")[0].split(".")[:2])) < (0, 27)
    for name, family in IMAGE_FAMILIES.items():
        said = json.dumps({"processor": family.processor, **family.settings})
        build = partial(_image_folder, name)
        refusal = "lanczos on tensors needs torchvision 0.27" if "lanczos" in name and old else family.refusal
        yield Configuration("transformers image", name, said[:300], build, refusal=refusal)


def _image_folder(name: str, folder: Path) -> tuple[str, WrapOptions]:
    from tests.soak.image_matrix import IMAGE_FAMILIES, LABELS, image_family_folder
    from triggers.sources import WrapOptions

    return str(image_family_folder(folder, IMAGE_FAMILIES[name])), WrapOptions(positive=LABELS[1])


def _text_folders() -> Iterator[Configuration]:
    from tests.soak.text_matrix import CONFIGURATIONS

    for name, family in CONFIGURATIONS.items():
        padding = family.padding or ""
        refusal = _OTHERWISE.get(name, "" if padding else "ForSequenceClassification")
        build = partial(_text_folder, name)
        said = f"{family.scheme} tokenizer, {family.frame}"
        yield Configuration("transformers text", name, said, build, padding=padding, refusal=refusal)


_OTHERWISE = {"reformer": "would not answer as the source does"}
"""Refused because the comparison says so: what Reformer makes of a text changes with the longest of its batch."""


def _text_folder(name: str, folder: Path) -> tuple[str, WrapOptions]:
    from tests.soak.text_matrix import CHANGES, CONFIGURATIONS
    from tests.text_families import family_bundle
    from triggers.model.bundle import SPEC_FILE
    from triggers.sources import WrapOptions

    family_bundle(folder, CONFIGURATIONS[name], change=CHANGES.get(name))
    (folder / SPEC_FILE).unlink()
    return str(folder), WrapOptions(positive="toxic")


def _files() -> Iterator[Configuration]:
    if (FACES / "age-v1.onnx").is_file():
        yield Configuration("onnx", "dlib age-v1", "image.json and head.json of examples/dlib-age", _dlib_age)
        yield Configuration("onnx", "dlib gender-v1", "32 x 32, mean and std of 0..255", _dlib_gender)
    yield Configuration("onnx", "resnet18", "torch.onnx.export, opset 17", partial(_exported_network, "model.onnx"))
    yield Configuration("torch.export", "convolutions", "dynamic batch", partial(_exported_network, "model.pt2"))


def _dlib_age(_folder: Path) -> tuple[str, WrapOptions]:
    from triggers.sources import WrapOptions

    image, head = (json.loads((EXAMPLE / f"{name}.json").read_text()) for name in ("image", "head"))
    return str(FACES / "age-v1.onnx"), WrapOptions(labels=("old", "young"), image=image, head=head)


def _dlib_gender(_folder: Path) -> tuple[str, WrapOptions]:
    from triggers.sources import WrapOptions

    image = {**json.loads((EXAMPLE / "image.json").read_text()), "size": 32}
    return str(FACES / "gender-v1.onnx"), WrapOptions(labels=("female", "male"), image=image)


def _exported_network(file: str, folder: Path) -> tuple[str, WrapOptions]:
    import torch
    from torch import nn
    from torchvision.models import resnet18
    from torchvision.transforms.functional import pil_to_tensor

    from tests.soak.image_matrix import LABELS, SAMPLES, spread_outputs
    from tests.soak.odd_inputs import odd_images
    from triggers.sources import WrapOptions
    from triggers.sources.oracles import open_rgb

    folder.mkdir()
    torch.manual_seed(0)
    small = [nn.Conv2d(3, 8, 5, 2), nn.BatchNorm2d(8), nn.GELU(), nn.Conv2d(8, 16, 3, 2), nn.SiLU()]
    small += [nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(144, len(LABELS))]
    network = nn.Sequential(*small) if file.endswith(".pt2") else resnet18(num_classes=len(LABELS))
    pictures = [pil_to_tensor(open_rgb(each).resize((64, 64))) for each in odd_images(SAMPLES, 5)]  # type: ignore[attr-defined]
    spread_outputs(network, torch.stack(pictures).float() / 64 - 2)
    path, example = folder / file, torch.rand(2, 3, 64, 64)
    if file.endswith(".pt2"):
        batch = ({0: torch.export.Dim("batch")},)
        torch.export.save(torch.export.export(network, (example,), dynamic_shapes=batch), path)
    else:
        axes = {"input": {0: "N"}, "output": {0: "N"}}
        names = {"input_names": ["input"], "output_names": ["output"], "dynamic_axes": axes}
        torch.onnx.export(network, (example,), str(path), opset_version=17, dynamo=False, **names)  # type: ignore[arg-type]
    image = {"size": 64, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    return str(path), WrapOptions(labels=LABELS, positive=LABELS[1], image=image)


def wrapped_row(name: str, count: int = INPUTS) -> Row:
    """Build one configuration, wrap it, and say what became of it."""
    import torch
    from transformers.utils import logging

    torch.set_num_threads(1)
    logging.set_verbosity_error()
    one = next(each for each in configurations() if each.name == name)
    began = time.monotonic()
    with TemporaryDirectory() as folder:
        try:
            row = _wrapped(one, Path(folder), count)
        except Exception:  # the row says it, and the other configurations go on
            row = Row(one.kind, name, one.settings, fault=traceback.format_exc())
    return Row(**asdict(row) | {"fault": row.fault or _fault(one, row), "seconds": time.monotonic() - began})


def _wrapped(one: Configuration, folder: Path, count: int) -> Row:
    from tests.soak.odd_inputs import mixed_texts, odd_images
    from triggers.errors import ModelError
    from triggers.sources import read_source, write_source_bundle

    word, options = one.build(folder / "source")
    try:
        source: ModelSource = read_source(word, options)
        inputs = odd_images(count) if source.modality == "image" else mixed_texts(count)
        spec = write_source_bundle(source, folder / "bundle", options, inputs)
    except ModelError as error:
        return Row(one.kind, one.name, one.settings, refusal=str(error))
    record, padding = spec.comparison, spec.text.padding if spec.text else ""
    assert record and record.spread is not None
    found = (record.largest_difference, record.flips, record.spread, record.inputs)
    return Row(one.kind, one.name, one.settings, padding, *found)


def _fault(one: Configuration, row: Row) -> str:
    """Why a row is not as it should be; empty if it is."""
    if row.refusal or one.refusal:
        fitting = one.refusal and one.refusal in row.refusal and "\n" not in row.refusal
        return "" if fitting else f"must be refused ({one.refusal!r})" if one.refusal else "must not be refused"
    if row.largest_difference > LARGEST_DIFFERENCE or row.flips:
        return "answers otherwise than its pipeline"
    if row.spread < LEAST_SPREAD:
        return "scores do not vary, so that agreement says nothing"
    return "" if row.padding == one.padding else f"padding must be {one.padding}"


def rows(names: Sequence[str], jobs: int) -> Iterator[Row]:
    """The row of each configuration as it is done, `jobs` of them at a time."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        for done in as_completed([pool.submit(wrapped_row, name) for name in names]):
            yield done.result()


def results(found: Sequence[Row]) -> dict[str, Any]:
    """All rows, in order, under the versions that they were made with; JSON-ready."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "none"
    kinds = sorted({row.kind for row in found})
    counts = {kind: sum(row.kind == kind and not row.refusal for row in found) for kind in kinds}
    ordered = sorted(found, key=lambda row: (row.kind, row.name))
    return {"versions": versions, "served": counts, "rows": [asdict(row) for row in ordered]}


def table(found: dict[str, Any]) -> str:
    """What docs/models.md shows of written results: a Markdown table by kind, and who is refused and why."""
    lines = ["| source | configurations | exact | padding | largest difference of a score | labels that differ |"]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    for kind in dict.fromkeys(row["kind"] for row in found["rows"]):
        rows = [row for row in found["rows"] if row["kind"] == kind]
        served = [row for row in rows if not row["refusal"]]
        for padding in dict.fromkeys(row["padding"] for row in served):
            group = [row for row in served if row["padding"] == padding]
            names = ", ".join(sorted({row["name"].split(" IMAGENET")[0] for row in group}))
            most, flips = max(row["largest_difference"] for row in group), sum(row["flips"] for row in group)
            cells = (kind, len(group), names, padding or "-", f"{most:.1e}", flips)
            lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    lines += ["", "Refused in one line:", ""]
    lines += [f"- {row['kind']}, {row['name']}: {row['refusal']}" for row in found["rows"] if row["refusal"]]
    return "\n".join(lines)


def main() -> int:
    """Print a row for each configuration and write all; 1 if one is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="parts of configurations' kinds and names; default all")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--table", type=Path, help="print the table of results that were written before")
    given = parser.parse_args()
    if given.table:
        print(table(json.loads(given.table.read_text(encoding="utf-8"))))
        return 0
    os.environ["OMP_NUM_THREADS"] = "1"
    names = [
        each.name
        for each in configurations()
        if not given.names or any(part in f"{each.kind} {each.name}" for part in given.names)
    ]
    found = []
    for row in rows(names, given.jobs):
        print(row.line(), flush=True)
        found.append(row)
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(results(found), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    faults = [row.name for row in found if row.fault]
    print(f"{len(found)} configurations, {len(faults)} not as they should be: {', '.join(faults)}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
