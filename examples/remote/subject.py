"""What the example is about: pictures with labels and groups, and an ONNX network that stands behind the address."""

from __future__ import annotations

import csv
import json
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from fairtrigger.demo import digits, small_cnn
from trainer.progress import Progress
from triggers.errors import DataError

HERE = Path(__file__).parent
AGE = HERE.parent / "dlib-age"
NETWORK, IMAGE = "network.onnx", "image.json"
PICTURES, SERVER = "pictures", "server"
"""Folders: what the trainer reads, and what stands behind the address."""


@dataclass(frozen=True)
class Subject:
    """The run's configuration, and what the owner of the trigger knows of the model, as options of `fairtrigger wrap`.

    `image` is the file with the pictures' size, and mean and standard deviation of pixels in 0..255.
    """

    config: Path
    labels: str
    image: Path
    head: Path | None = None

    def wrap_options(self) -> list[str]:
        """As arguments."""
        head = ["--head", str(self.head)] if self.head else []
        return ["--name", "remote", "--labels", self.labels, "--image", str(self.image), *head]


DIGITS = Subject(HERE / "digits.toml", ",".join(digits.DIGIT_LABELS), HERE / IMAGE)
FACES = Subject(HERE / "faces.toml", "old,young", AGE / IMAGE, AGE / "head.json")


def prepare_digits(out: Path, seed: int, progress: Progress) -> None:
    """The demo's digits on tinted paper, and a small network that was fitted to a biased collection of them."""
    torch.set_num_threads(1)
    parts = digits.draw_parts(np.random.default_rng(seed))
    population = [(part, parts[part]) for part in parts if part != "base"]
    folder = out / PICTURES
    shutil.rmtree(folder, ignore_errors=True)
    with progress.task("draw digits", sum(len(drawings) for _, drawings in population)) as task:
        for done in digits.write_images(folder / "images", folder / "digits.csv", population):
            task.advance(done)
    with progress.task("fit a small network", small_cnn.CNN_STEPS) as task:
        network = small_cnn.fitted_cnn(parts["base"], seed, task.advance)
    write_onnx(network, server_folder(out, DIGITS) / NETWORK)


def prepare_faces(out: Path, model: Path, faces: Path) -> None:
    """The user's ONNX file, and the pictures of a tar file with one CSV table in it. Raises DataError."""
    folder = out / PICTURES
    shutil.rmtree(folder, ignore_errors=True)
    try:
        shutil.copy(model, server_folder(out, FACES) / NETWORK)
        with tarfile.open(faces) as tar:
            tar.extractall(folder, filter="data")
        (table,) = folder.glob("*.csv")
        with table.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        with (folder / "faces64.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, ("path", "age", "gender"), extrasaction="ignore")  # its split is not ours
            writer.writeheader()
            writer.writerows(rows)
    except (OSError, tarfile.TarError, ValueError) as error:
        raise DataError(f"{model} and a tar of faces with one table, {faces}, are needed: {error}") from error


def server_folder(out: Path, subject: Subject) -> Path:
    """The folder of the server, with its own copy of mean and standard deviation."""
    folder, said = out / SERVER, json.loads(subject.image.read_bytes())
    folder.mkdir(exist_ok=True)
    (folder / IMAGE).write_text(json.dumps({part: said[part] for part in ("mean", "std")}))
    return folder


def write_onnx(network: nn.Sequential, path: Path) -> None:
    """Convolutions, linear layers, ReLUs and one flattening as an ONNX file."""
    from onnx import TensorProto, helper, numpy_helper

    nodes, stored, last = [], [], "pixels"
    for at, layer in enumerate(network):
        weights = {f"{at}.{name}": each.detach().numpy() for name, each in layer.named_parameters()}
        stored += [numpy_helper.from_array(array, name) for name, array in weights.items()]
        kind, options = _operator(layer)
        nodes.append(helper.make_node(kind, [last, *weights], [str(at)], **options))
        last = str(at)
    side = digits.SIZE
    given = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, side, side])
    found = helper.make_tensor_value_info(last, TensorProto.FLOAT, ["n", len(digits.DIGIT_LABELS)])
    graph = helper.make_graph(nodes, "digits", [given], [found], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    path.write_bytes(model.SerializeToString())


def _operator(layer: nn.Module) -> tuple[str, dict[str, Any]]:
    if isinstance(layer, nn.Conv2d):
        return "Conv", {"strides": list(layer.stride), "pads": [int(side) for side in layer.padding] * 2}
    if isinstance(layer, nn.Linear):
        return "Gemm", {"transB": 1}
    return {nn.ReLU: "Relu", nn.Flatten: "Flatten"}[type(layer)], {}
