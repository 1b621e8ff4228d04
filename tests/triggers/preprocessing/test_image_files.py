"""Files as cameras, phones, scanners and bit flips write them: the right pixels, or the reason for a refusal."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from random import Random

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin, TiffImagePlugin
from torch import Tensor

from tests.mutations import broken_file, encoded, exif_block, image_files, picture
from triggers.errors import InputError
from triggers.preprocessing import ImageLimits, ImageSpec
from triggers.preprocessing.image_files import claimed_size
from triggers.preprocessing.image_metadata import exif_orientation, without_metadata
from triggers.preprocessing.preprocess import decode_image

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL.*")  # what is odd about a file; the service is silent

SPEC = ImageSpec.square(24, (0.5,) * 3, (0.25,) * 3)
GREY = ImageSpec.square(24, (0.5,), (0.25,), channels=1)
UNTURNED, TURNED, MAKER = encoded("JPEG"), encoded("JPEG", exif=exif_block()), b"\x01\x0f\x00\x02"


def pixels(data: bytes, spec: ImageSpec = SPEC) -> Tensor:
    return decode_image(data, spec)


def refusal(data: bytes) -> str:
    with pytest.raises(InputError) as caught:
        decode_image(data, SPEC)
    return caught.value.code


def big_endian(exif: Image.Exif) -> bytes:
    exif.endian = ">"
    return exif.tobytes()


def as_text(block: bytes) -> bytes:
    """The Exif block with its resolution, a fraction, declared to be text."""
    old, new = struct.pack(">HHI", 0x011A, 5, 1), struct.pack(">HHI", 0x011A, 2, 8)
    assert old in block
    return block.replace(old, new)


def test_a_resolution_that_is_text_costs_nothing() -> None:
    block = big_endian(exif_block())
    assert torch.equal(pixels(encoded("JPEG", exif=as_text(block))), pixels(encoded("JPEG", exif=block)))
    assert not torch.equal(pixels(TURNED), pixels(UNTURNED))


@pytest.mark.parametrize("count", [17, 2**24])
def test_an_orientation_behind_a_broken_tag_is_followed(count: int) -> None:
    block = big_endian(exif_block())
    at = block.index(MAKER)
    broken = block[: at + 4] + count.to_bytes(4) + (2**20).to_bytes(4) + block[at + 12 :]
    assert torch.equal(pixels(encoded("JPEG", exif=broken)), pixels(TURNED))
    assert exif_orientation(broken) == 6


@pytest.mark.parametrize(
    "block", [b"Exif\0\0", b"Exif\0\0MM\0*\0\0\0\x08", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0\0"]
)
def test_an_exif_block_without_a_directory_is_none(block: bytes) -> None:
    assert torch.equal(pixels(encoded("JPEG", exif=block)), pixels(UNTURNED))
    assert exif_orientation(block) is None


def jpeg_payloads(data: bytes) -> Iterator[tuple[int, int]]:
    at = 2
    while data[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4])
        if data[at + 1] in (0xE1, 0xE2, 0xED, 0xFE):
            yield at + 4, end
        at = end


def png_payloads(data: bytes) -> Iterator[tuple[int, int]]:
    at = 8
    while at < len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4])
        if data[at + 4 : at + 8] in (b"eXIf", b"iCCP", b"zTXt", b"iTXt", b"tEXt"):
            yield at + 8, end  # with its checksum
        at = end


def webp_payloads(data: bytes) -> Iterator[tuple[int, int]]:
    at = 12
    while at < len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] in (b"ICCP", b"EXIF", b"XMP "):
            yield at + 8, at + 8 + length
        at += 8 + length + length % 2


def _no_payloads(data: bytes) -> Iterator[tuple[int, int]]:
    return iter(())


PAYLOADS = {b"\xff\xd8": jpeg_payloads, b"\x89P": png_payloads, b"RI": webp_payloads}


def test_damage_within_metadata_never_costs_an_answer() -> None:
    """The orientation may be among what was damaged, so the picture may come out turned: its colours stay."""
    random, tried = Random(0), 0
    for healthy in image_files():
        for start, end in PAYLOADS.get(healthy[:2], _no_payloads)(healthy):
            for _ in range(12):
                at = random.randrange(start, end)
                damage = random.randbytes(min(end - at, random.choice((1, 4, 20))))
                found = pixels(healthy[:at] + damage + healthy[at + len(damage) :]).float().mean((1, 2))
                assert torch.allclose(found, pixels(healthy).float().mean((1, 2)), atol=2)
                tried += 1
    assert tried == 156


def test_a_large_text_costs_nothing() -> None:
    """More than the decoder is willing to read: a bomb of text in a PNG, an Exif block of nonsense in a JPEG."""
    bomb = zlib.compress(bytes(80 * 2**20))
    chunk = b"zTXtComment\0\0" + bomb
    healthy = encoded("PNG", exif=exif_block())
    at = healthy.index(b"IDAT") - 4
    data = (
        healthy[:at] + struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) + healthy[at:]
    )
    assert torch.equal(pixels(data), pixels(healthy))
    assert claimed_size(data, ImageLimits()) == claimed_size(healthy, ImageLimits()) is not None
    nonsense = b"\xff\xe1" + (65535).to_bytes(2) + b"Exif\0\0MM" + Random(0).randbytes(65525)
    assert torch.equal(pixels(UNTURNED[:2] + nonsense * 20 + UNTURNED[2:]), pixels(UNTURNED))


@pytest.mark.parametrize("big", [False, True])
def test_a_broken_tag_of_a_tiff_costs_nothing(big: bool) -> None:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[270], tags[274] = "what it shows", 6
    healthy = encoded("TIFF", tiffinfo=tags, big_tiff=big)
    at = healthy.index(struct.pack("<HH", 270, 2))
    broken = healthy[: at + 4] + b"\xff" * (16 if big else 8) + healthy[at + (20 if big else 12) :]
    assert broken != healthy and torch.equal(pixels(broken), pixels(healthy))
    assert torch.equal(pixels(healthy), pixels(encoded("PNG", exif=exif_block(6))))


def test_a_file_without_metadata_has_the_same_pixels() -> None:
    """Its number of frames included."""
    for healthy in image_files():
        lean = without_metadata(healthy)
        if lean is None:
            assert healthy[:2] in (b"BM", b"GI")
            continue
        assert outcome(lean) == outcome(healthy)
        assert all(part not in lean[:-200] for part in (b"ICC_PROFILE", b"iCCP", b"ICCP", b"XMP ", b"a comment"))


def outcome(data: bytes) -> bytes | str:
    try:
        return pixels(data).numpy().tobytes()
    except InputError as error:
        return error.code


def test_a_phone_s_multi_picture_file_is_its_first_picture() -> None:
    out = io.BytesIO()
    main, thumbnail = picture(), Image.new("RGB", (8, 8), (255, 0, 0))
    main.save(out, "MPO", save_all=True, append_images=[thumbnail], exif=exif_block())
    with Image.open(io.BytesIO(out.getvalue())) as opened:
        assert opened.n_frames == 2  # type: ignore[attr-defined]
    assert torch.equal(pixels(out.getvalue()), pixels(TURNED))
    assert claimed_size(out.getvalue(), ImageLimits()) == main.size


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_a_true_animation_is_refused(kind: str) -> None:
    data = encoded(kind, save_all=True, append_images=[picture().rotate(180)])
    assert refusal(data) == "animated_image"
    lean = without_metadata(data)
    assert lean is None or refusal(lean) == "animated_image"


@pytest.mark.parametrize("compression", ["raw", "tiff_adobe_deflate"])
@pytest.mark.parametrize("mode", ["F", "I;16"])
def test_wide_greys_are_the_eight_bits_of_the_same_ramp(mode: str, compression: str) -> None:
    wide, plain = (pixels(encoded("TIFF", each, compression=compression), GREY).int() for each in (mode, "grey"))
    assert (wide - plain).abs().max() <= 1
    assert plain.max() > 240 and plain.min() < 15


def test_sixteen_bits_in_png_and_of_the_other_byte_order() -> None:
    wide = np.asarray(picture("I;16")).astype(">u2")
    plain = pixels(encoded("PNG", "grey"), GREY).int()
    assert (pixels(saved(Image.fromarray(wide), "TIFF"), GREY).int() - plain).abs().max() <= 1
    assert (pixels(encoded("PNG", "I;16"), GREY).int() - plain).abs().max() <= 1


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def with_tag(data: bytes, tag: int, value: int) -> bytes:
    """A little-endian TIFF with one short tag of its first directory changed."""
    start = struct.unpack_from("<I", data, 4)[0]
    for at in range(start + 2, len(data), 12):
        if struct.unpack_from("<H", data, at)[0] == tag:
            return data[: at + 8] + struct.pack("<H", value) + data[at + 10 :]
    raise AssertionError(tag)


@pytest.mark.parametrize("mode", ["F", "I;16"])
def test_white_may_be_zero(mode: str) -> None:
    data = encoded("TIFF", mode)
    inverted = pixels(with_tag(data, 262, 0), GREY)
    assert (255 - inverted.int() - pixels(data, GREY).int()).abs().max() <= 1


def test_twelve_bits_reach_white() -> None:
    levels = np.repeat(np.array([0, 2048, 4095]), 192).reshape(24, 24)
    packed = b"".join(((int(a) << 12) | int(b)).to_bytes(3) for a, b in levels.reshape(-1, 2))
    data = saved(Image.fromarray(levels.astype(np.uint16)), "TIFF")
    start = data.index(levels.astype("<u2").tobytes())
    data = with_tag(data[:start] + packed.ljust(1152, b"\0") + data[start + 1152 :], 258, 12)
    assert pixels(data, GREY).unique().tolist() == [0, 128, 255]


@pytest.mark.parametrize(
    "values",
    [
        np.linspace(0, 255, 64, dtype=np.float32),
        np.linspace(-1, 1, 64, dtype=np.float32),
        np.array([0, 0.5, np.nan, 1] * 16, dtype=np.float32),
        np.array([0, 0.5, np.inf, 1] * 16, dtype=np.float32),
        np.linspace(0, 2**31 - 1, 64, dtype=np.int32),
        np.zeros(64, dtype=np.int32),
    ],
)
def test_a_range_that_nothing_states_is_refused(values: np.ndarray) -> None:
    assert refusal(saved(Image.fromarray(values.reshape(8, 8)), "TIFF")) == "unknown_range"


def test_floats_a_hair_over_one_are_rounding() -> None:
    values = np.array([0, 0.5, 1.0000001, 1] * 16, dtype=np.float32).reshape(8, 8)
    assert pixels(saved(Image.fromarray(values), "TIFF"), GREY).max() == 255


@pytest.mark.parametrize(
    "error", [KeyError, TypeError, ZeroDivisionError, AttributeError, OverflowError, AssertionError]
)
@pytest.mark.parametrize("place", ["open", "load"])
def test_whatever_a_decoder_raises_refuses_the_file(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception], place: str
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise error("what")

    data = encoded("PNG")
    if place == "open":
        monkeypatch.setattr(Image, "open", fail)
    else:
        monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", fail)
    assert refusal(data) == {"open": "not_an_image", "load": "image_undecodable"}[place]


def test_two_thousand_broken_files_are_decoded_or_refused() -> None:
    """`make soak` tries a hundred thousand."""
    files, limits, answered = image_files(), ImageLimits(max_pixels=1_000_000), 0
    for seed in range(2000):
        data = broken_file(Random(seed), files)
        try:
            assert decode_image(data, SPEC, limits).shape == (3, 24, 24)
        except InputError:
            continue
        assert claimed_size(data, limits), "the pixels of a request are limited by what its files claim"
        answered += 1
    assert 300 < answered < 1500
