"""A source that is one file of a whole network: an ONNX graph or a program of `torch.export`.

Such files say nothing of how pictures are prepared and what the outputs mean: the owner does.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from torch import Tensor

from triggers.errors import ModelError
from triggers.model.bundle import ExportedLoader, OnnxLoader
from triggers.model.networks.onnx_network.onnx_file import require_onnx
from triggers.sources.oracles import stated_pixels_oracle
from triggers.sources.source import ModelSource, WrapOptions
from triggers.sources.stated import output_count, stated_head, stated_image


def read_onnx_file(path: Path, options: WrapOptions) -> ModelSource:
    """The source in an ONNX file. Raises ModelError."""
    from triggers.model.networks.onnx_network import load_onnx, onnx_oracle

    whole, folder = _whole(path)
    network = load_onnx(whole, options.output)
    about = network.description
    loader = OnnxLoader(kind="onnx", output=about.output)
    oracle = onnx_oracle(whole, about.output)
    said = f"opset {about.opset} of {about.producer or 'an unnamed program'}"
    source = _source(path, options, loader, about.channels_first, about.activation, network, oracle, said)
    return replace(source, copy=partial(_copy, whole, loader, folder=folder))


def _whole(path: Path) -> tuple[Path, TemporaryDirectory[str] | None]:
    """The file with the weights that lie beside it put inside, and the folder that it then lies in.

    torch.onnx.export writes weights beside the graph unless told otherwise. Raises ModelError.
    """
    onnx = require_onnx()
    try:
        graph = onnx.load_model(path, load_external_data=False)
        if not any(onnx.external_data_helper.uses_external_data(tensor) for tensor in graph.graph.initializer):
            return path, None
        onnx.external_data_helper.load_external_data_for_model(graph, str(path.parent))
        for tensor in graph.graph.initializer:
            tensor.data_location = onnx.TensorProto.DEFAULT
            del tensor.external_data[:]
        folder = TemporaryDirectory()
        onnx.save_model(graph, str(Path(folder.name) / path.name))
    except Exception as error:  # protobuf's, onnx's and the system's errors have no common base
        raise ModelError(f"{path} cannot be read with its weights: {' '.join(str(error).split())}") from error
    return Path(folder.name) / path.name, folder


def read_exported_file(path: Path, options: WrapOptions) -> ModelSource:
    """The source in a `.pt2` file. Raises ModelError."""
    from triggers.model.networks.exported_program import load_exported

    network = load_exported(path, options.output)
    about = network.description
    loader = ExportedLoader(kind="exported", output=about.output)
    return _source(path, options, loader, about.shape, about.activation, network, network, "a torch.export program")


def _source(
    path: Path,
    options: WrapOptions,
    loader: OnnxLoader | ExportedLoader,
    shape: Sequence[int | str],
    activation: str | None,
    network: Callable[[Tensor], Tensor],
    oracle: Callable[[Tensor], Tensor],
    said: str,
) -> ModelSource:
    if len(shape) != 4:
        raise ModelError(f"{path} takes inputs of shape {tuple(shape)}; pictures (N, C, H, W) are needed.")
    channels, height, width = (each if isinstance(each, int) else None for each in shape[1:])
    image = stated_image(options, channels, height, width)
    labels, head, place = stated_head(options, output_count(network, image), activation)
    kind = "onnxruntime" if isinstance(loader, OnnxLoader) else "the program alone"
    return ModelSource(
        name=path.stem,
        modality="image",
        loader=loader,
        labels=labels,
        head=head,
        copy=partial(_copy, path, loader),
        oracle=stated_pixels_oracle(f"{kind}, pictures prepared as stated", oracle, image, head, len(labels)),
        origin={"network": f"{path.name} ({said})", "labels": "--labels", "head": place, "image": "--image"},
        image=image,
    )


FILE_READERS: dict[str, Callable[[Path, WrapOptions], ModelSource]] = {
    ".onnx": read_onnx_file,
    ".pt2": read_exported_file,
}
"""The reader of a file, by how its name ends."""


def _copy(
    path: Path, loader: OnnxLoader | ExportedLoader, bundle: Path, folder: TemporaryDirectory[str] | None = None
) -> None:
    """Copy the file; `folder` is kept until then, if the file lies in it."""
    shutil.copyfile(path, bundle / loader.file)
