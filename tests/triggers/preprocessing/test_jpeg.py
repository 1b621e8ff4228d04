"""The quick way of decoding gives the pixels of the slow one, and knows which files it may not touch."""

from __future__ import annotations

import io
import tarfile
from itertools import product

import numpy as np
import pytest
import torch
from PIL import Image

import triggers.preprocessing.preprocess as preprocess
from tests.real_data import SHARED, need
from triggers.errors import InputError
from triggers.preprocessing.image_spec import ImageSpec
from triggers.preprocessing.jpeg import decode_plain, plain_size
from triggers.preprocessing.preprocess import decode_image

SPECS = [ImageSpec.square(32, (0.5,) * 3, (0.25,) * 3), ImageSpec.square(20, (0.5,) * 3, (0.25,) * 3, resize="crop")]


def jpeg(width: int, height: int, *, mode: str = "RGB", **options: object) -> bytes:
    pixels = np.random.default_rng(0).integers(90, 150, (height, width, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(out, "JPEG", **options)
    return out.getvalue()


def by_pillow(monkeypatch: pytest.MonkeyPatch, data: bytes, spec: ImageSpec) -> torch.Tensor | str:
    with monkeypatch.context() as patch:
        patch.setattr(preprocess, "plain_size", lambda data: None)
        return outcome(data, spec)


def outcome(data: bytes, spec: ImageSpec) -> torch.Tensor | str:
    try:
        return decode_image(data, spec)
    except InputError as error:
        return error.code


def same(a: torch.Tensor | str, b: torch.Tensor | str) -> bool:
    return torch.equal(a, b) if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor) else a == b


@pytest.mark.parametrize("spec", SPECS)
def test_plain_files_come_out_as_from_pillow(monkeypatch: pytest.MonkeyPatch, spec: ImageSpec) -> None:
    sizes = [(32, 32), (33, 47), (9, 200), (300, 211)]
    for (width, height), subsampling, progressive, quality in product(sizes, (0, 1, 2), (False, True), (30, 95)):
        data = jpeg(width, height, subsampling=subsampling, progressive=progressive, quality=quality)
        assert plain_size(data) == (width, height)
        assert decode_plain(data) is not None
        assert same(decode_image(data, spec), by_pillow(monkeypatch, data, spec))


def test_damaged_files_come_out_as_from_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, random = jpeg(40, 40), np.random.default_rng(1)
    for number in range(300):
        data = bytearray(whole[: random.integers(2, len(whole))] if number % 2 else whole)
        for _ in range(3):
            data[random.integers(0, len(data))] = random.integers(0, 256)
        damaged = bytes(data)
        assert same(outcome(damaged, SPECS[0]), by_pillow(monkeypatch, damaged, SPECS[0]))


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return jpeg(30, 20, exif=exif)


@pytest.mark.parametrize("data", [turned(), jpeg(8, 8, mode="L"), jpeg(8, 8, mode="CMYK"), b"", b"\xff\xd8", b"GIF89a"])
def test_every_other_file_is_left_to_pillow(data: bytes) -> None:
    assert plain_size(data) is None


def test_a_colour_profile_changes_nothing() -> None:
    assert plain_size(jpeg(8, 8, icc_profile=b"x" * 200)) == (8, 8)


def test_a_truncated_header_claims_nothing() -> None:
    whole = jpeg(16, 16)
    assert all(plain_size(whole[:cut]) is None for cut in range(200))


def test_real_photographs(monkeypatch: pytest.MonkeyPatch) -> None:
    need("data/celeba10k.tar")
    plain = 0
    with tarfile.open(SHARED / "data/celeba10k.tar") as archive:
        for member in archive:
            if plain == 40:
                return
            if member.name.endswith(".jpg") and (file := archive.extractfile(member)):
                data = file.read()
                plain += plain_size(data) is not None
                assert same(decode_image(data, SPECS[0]), by_pillow(monkeypatch, data, SPECS[0]))
    pytest.fail("no plain JPEG among the photographs")


def test_what_was_read_at_the_start_of_a_file_is_remembered_of_that_start_alone() -> None:
    small, large = jpeg(32, 32), jpeg(64, 64)
    assert [plain_size(each) for each in (small, large, small)] == [(32, 32), (64, 64), (32, 32)]
    comment = b"\xff\xfe" + (2 + 40).to_bytes(2, "big") + b"\xff\xda" + bytes(38)
    assert plain_size(small[:2] + comment + small[2:]) == (32, 32), "a scan's marker within a comment"
    exif = b"\xff\xe1" + (2 + 6).to_bytes(2, "big") + b"Exif\0\0"
    assert plain_size(small[:2] + exif + small[2:]) is None
    assert plain_size(small[:300]) is None
