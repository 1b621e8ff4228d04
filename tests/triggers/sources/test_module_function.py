"""A function that builds a network is carried along with its code; code and arguments are part of the fingerprint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from triggers.allow_lists import Factories
from triggers.errors import ModelError
from triggers.model import load_bundle
from triggers.model.bundle import FactoryLoader
from triggers.sources import WrapOptions, read_source, write_source_bundle

CODE = """
import torch

def small(width=4, cut=0.0):
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(3, width, 3, 2), torch.nn.Threshold(cut, 0.0), torch.nn.AdaptiveAvgPool2d(1)]
    return torch.nn.Sequential(*layers, torch.nn.Flatten(), torch.nn.Linear(width, 2))

def nothing():
    return 3

def broken():
    raise RuntimeError("no")

def grid():
    return torch.nn.Conv2d(3, 2, 3)
"""
OPTIONS = WrapOptions(labels=("no", "yes"), image={"size": 16, "mean": [0.5] * 3, "std": [0.5] * 3})


def fingerprint(file: Path, folder: Path, **arguments: float) -> str:
    """Of the wrapped function, loaded anew."""
    options = replace(OPTIONS, arguments=arguments)
    write_source_bundle(read_source(f"{file}:small", options), folder, options)
    return load_bundle(folder, factories=Factories((file.stem,))).fingerprint


def test_code_and_arguments_are_carried_and_fingerprinted(tmp_path: Path) -> None:
    file = tmp_path / "nets.py"
    file.write_text(CODE)
    plain = fingerprint(file, tmp_path / "a")
    assert plain == fingerprint(file, tmp_path / "b")
    assert plain != fingerprint(file, tmp_path / "c", cut=0.1)  # the same weights
    file.write_text(CODE + "# changed\n")
    assert plain != fingerprint(file, tmp_path / "d")
    file.unlink()
    carried = load_bundle(tmp_path / "a", factories=Factories(("nets",)))
    assert carried.fingerprint == plain
    loader = carried.spec.loader
    assert isinstance(loader, FactoryLoader) and loader.target == "nets:small"
    code = tmp_path / "a" / "code" / "nets.py"
    code.write_text(CODE.replace("3, 2)", "3, 1)"))
    with pytest.raises(ModelError, match="The code of 'nets:small' changed since it was wrapped"):
        load_bundle(tmp_path / "a", factories=Factories(("nets",)))
    with pytest.raises(ModelError, match="not allowed here"):
        load_bundle(tmp_path / "b", factories=Factories())


def test_a_module_below_the_present_folder_is_carried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_nets.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    write_source_bundle(read_source("own_nets:small", OPTIONS), tmp_path / "a", OPTIONS)
    assert (tmp_path / "a" / "code" / "own_nets.py").read_text() == CODE


def test_weights_are_given_apart(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    file = tmp_path / "nets.py"
    file.write_text(CODE)
    layers = [torch.nn.Conv2d(3, 4, 3, 2), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()]
    state = torch.nn.Sequential(*layers, torch.nn.Linear(4, 2)).state_dict()
    save_file(state, tmp_path / "w.safetensors")
    options = replace(OPTIONS, weights=tmp_path / "w.safetensors")
    write_source_bundle(read_source(f"{file}:small", options), tmp_path / "a", options)
    network = load_bundle(tmp_path / "a", factories=Factories(("nets",))).network
    assert torch.equal(network.state_dict()["0.weight"], state["0.weight"])
    with pytest.raises(ModelError, match="do not fit the network"):
        read_source(f"{file}:small", replace(options, arguments={"width": 5}))
    with pytest.raises(ModelError, match=r"Give the weights as --weights FILE\.safetensors"):
        read_source(f"{file}:small", replace(options, weights=tmp_path / "w.pth"))


@pytest.mark.parametrize(
    ("function", "reason"),
    [("absent", "absent"), ("nothing", "returned a int"), ("broken", "RuntimeError: no")],
)
def test_a_function_that_builds_none_is_refused_in_one_line(function: str, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "nets.py"
    file.write_text(CODE)
    with pytest.raises(ModelError, match=reason) as refusal:
        read_source(f"{file}:{function}", OPTIONS)
    assert "\n" not in str(refusal.value)


def test_a_network_that_takes_no_such_pictures_or_gives_no_table_is_refused_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "nets.py"
    file.write_text(CODE)
    small = OPTIONS.image and {**OPTIONS.image, "size": 2}
    for function, image, reason in (("small", small, "pictures of 3 x 2 x 2"), ("grid", OPTIONS.image, "no table")):
        with pytest.raises(ModelError, match=reason) as refusal:
            read_source(f"{file}:{function}", replace(OPTIONS, image=image))
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "change", [{"image": None}, {"labels": None}, {"labels": ("a", "b", "c")}, {"image": {"size": 1}}]
)
def test_what_the_owner_must_say_is_asked_for(change: dict[str, object], tmp_path: Path) -> None:
    file = tmp_path / "nets.py"
    file.write_text(CODE)
    with pytest.raises(ModelError, match=r"--image|--labels") as refusal:
        read_source(f"{file}:small", replace(OPTIONS, **change))  # type: ignore[arg-type]
    assert "\n" not in str(refusal.value)
