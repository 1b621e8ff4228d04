"""The content of a `.pt2` archive, read without unpickling: a graph in JSON, and raw tensors described in JSON."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from triggers.errors import ModelError

SCHEMA = 8
"""Major version of the graph's JSON, that of torch 2.10 and later."""
DTYPES = {
    1: torch.uint8, 2: torch.int8, 3: torch.int16, 4: torch.int32, 5: torch.int64, 6: torch.float16, 7: torch.float32,
    8: torch.float64, 12: torch.bool, 13: torch.bfloat16,
}  # fmt: skip


def read_program(archive: zipfile.ZipFile) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The program and its tensors by name. Raises ModelError, KeyError or ValueError for what cannot be read."""
    files = {entry.filename.partition("/")[2]: entry for entry in archive.infolist()}
    models = [name for name in files if re.fullmatch(r"models/[^/]+\.json", name)]
    if len(models) != 1:
        raise ModelError(f"it holds {len(models)} programs where one is wanted, written by torch 2.10 or later")
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in files.values()):
        raise ModelError("it is compressed, which torch.export.save never does")

    def read(name: str) -> bytes:
        if name not in files:
            raise ModelError(
                f"{name} is missing: save it again with torch 2.10 or later, whose files need no unpickling"
            )
        return archive.read(files[name])

    name = models[0].removeprefix("models/").removesuffix(".json")
    program = json.loads(read(models[0]))
    if program["schema_version"]["major"] != SCHEMA:
        raise ModelError(f"its schema version is {program['schema_version']}, not {SCHEMA}: export it again")
    if read("byteorder") != b"little":
        raise ModelError("its numbers are big-endian")
    tensors: dict[str, Tensor] = {}
    for kind in ("weights", "constants"):
        listed = json.loads(read(f"data/{kind}/{name}_{kind}_config.json"))["config"]
        for key, entry in listed.items():
            if entry["use_pickle"] or not entry["tensor_meta"]:
                raise ModelError(f"{key} is pickled, and nothing is unpickled here: use plain tensors, or ONNX")
            tensors[key] = _tensor(read(f"data/{kind}/{entry['path_name']}"), entry["tensor_meta"])
    return program, tensors


def _tensor(content: bytes, about: Mapping[str, Any]) -> Tensor:
    sizes, strides = ([each["as_int"] for each in about[key]] for key in ("sizes", "strides"))
    dtype = DTYPES[about["dtype"]]
    flat = torch.frombuffer(bytearray(content), dtype=dtype) if content else torch.empty(0, dtype=dtype)
    return flat.as_strided(sizes, strides, about["storage_offset"]["as_int"]).clone()
