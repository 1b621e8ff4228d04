"""Checkpoints in half precision, as many are published: bundles of tests with their weights narrowed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import load_file, save_file

from triggers.model.bundle import SPEC_FILE

Half = Literal["bfloat16", "float16"]
HALVES: tuple[Half, ...] = ("bfloat16", "float16")


def narrow_bundle(folder: Path, dtype: Half, loader_dtype: str = "auto") -> Path:
    """A bundle of a `transformers` folder whose checkpoint becomes one of this number type."""
    file = folder / "model.safetensors"
    narrow = {
        name: weight.to(getattr(torch, dtype)) if weight.is_floating_point() else weight
        for name, weight in load_file(file).items()
    }
    save_file(narrow, file, {"format": "pt"})
    for path, change in (
        (folder / "config.json", {"dtype": dtype}),
        (folder / SPEC_FILE, {"loader": {"kind": "transformers", "dtype": loader_dtype}}),
    ):
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
    return folder
