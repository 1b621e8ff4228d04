"""A source that is a function which builds the network: `FILE.py:FUNCTION` or `module:function`.

A file, or a module below the present folder, is carried along in the bundle; an installed one is named. Either way its
code and arguments are part of the model's fingerprint.
"""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor, nn

from triggers.allow_lists import Factories
from triggers.errors import ModelError
from triggers.model.bundle import WEIGHTS_FILE, FactoryLoader, bare_network
from triggers.model.head import output_table
from triggers.model.networks.checkpoint import load_weights
from triggers.model.networks.module_code import code_digest, code_files, module_path
from triggers.sources.oracles import stated_pixels_oracle
from triggers.sources.source import ModelSource, WrapOptions
from triggers.sources.stated import output_count, stated_head, stated_image, stated_weights

CODE = "code"
"""The folder inside the bundle."""


def read_module_function(target: str, options: WrapOptions) -> ModelSource:
    """The source that a function builds, with `--weights`, or the weights that it comes with. Raises ModelError."""
    path, _, function = target.rpartition(":")
    module, folder = _located(path)
    digest = code_digest(module, folder)
    loader = FactoryLoader(
        kind="factory",
        target=f"{module}:{function}",
        kwargs=dict(options.arguments),
        code=None if folder is None else CODE,
        code_digest=digest,
    )
    here = loader if folder is None else loader.model_copy(update={"code": "."})
    network = bare_network(here, Factories((module,)), folder).eval()
    _load_weights(network, options)
    image = stated_image(options, None, None, None)
    labels, head, place = stated_head(options, output_count(network, image), None)
    run = partial(_run, network)
    return ModelSource(
        name=function,
        modality="image",
        loader=loader,
        labels=labels,
        head=head,
        copy=partial(_copy, network, module, folder),
        oracle=stated_pixels_oracle("the network alone, pictures prepared as stated", run, image, head, len(labels)),
        origin={
            "network": f"{module}:{function}; its code and arguments are part of the fingerprint",
            "weights": options.weights.name if options.weights else "as the function makes them",
            "labels": "--labels",
            "head": place,
            "image": "--image",
        },
        image=image,
    )


def _run(network: nn.Module, pixels: Tensor) -> Tensor:
    return output_table(network(pixels))


def _located(path: str) -> tuple[str, Path | None]:
    """A module's name, and the folder that it lies in if the bundle is to carry it; None for an installed one."""
    file = Path(path)
    if path.endswith(".py") and file.is_file():
        return file.stem, file.resolve().parent
    top = path.split(".")[0]
    if (Path.cwd() / f"{top}.py").is_file() or (Path.cwd() / top / "__init__.py").is_file():
        return path, Path.cwd()
    return path, None


def _load_weights(network: nn.Module, options: WrapOptions) -> None:
    if options.weights is None:
        return
    state = stated_weights(options.weights)
    try:
        load_weights(network, state)
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"The weights {options.weights} do not fit the network: {reason}") from error


def _copy(network: nn.Module, module: str, folder: Path | None, bundle: Path) -> None:
    """Write the weights, and the code if the bundle carries it."""
    state = {name: tensor.detach().contiguous().clone() for name, tensor in network.state_dict().items()}
    save_file(state, bundle / WEIGHTS_FILE)
    if folder is None:
        return
    for file in code_files(module_path(module, folder)):
        target = bundle / CODE / file.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
