"""Every step of an image input beside the library that it follows: equal in every bit, whatever the file."""

from __future__ import annotations

import io
import time
import warnings
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from torch import Tensor
from torchvision import transforms as v1
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms._presets import ImageClassification
from torchvision.transforms.functional import pil_to_tensor
from transformers import BitImageProcessor, ViTImageProcessor
from transformers.image_processing_backends import PilBackend, TorchvisionBackend
from transformers.image_utils import SizeDict

from triggers.errors import InputError
from triggers.preprocessing import ImageLimits
from triggers.preprocessing.image_pipeline import PIL_FILTERS, ROOM, run_pipeline
from triggers.preprocessing.image_spec import CenterCrop, Fit, ImageSpec, Pad, Resize
from triggers.preprocessing.preprocess import decode_image

SIZES = [(1, 1), (1, 50), (50, 1), (2, 3), (37, 53), (97, 41), (224, 224), (301, 400)]
SIDES = st.tuples(st.integers(1, 120), st.integers(1, 120))
EDGES = st.integers(2, 60)  # torch itself fails at some tensors that shall become one pixel
ON_TENSORS = ["nearest", "nearest_exact", "bilinear", "bicubic", "lanczos"]
RESAMPLINGS = {  # as transformers names them to torchvision
    Image.Resampling.NEAREST: "nearest_exact",
    Image.Resampling.BILINEAR: "bilinear",
    Image.Resampling.BICUBIC: "bicubic",
    Image.Resampling.LANCZOS: "lanczos",
}
PICTURE = pytest.mark.parametrize("size", SIZES)


def noise(height: int, width: int, channels: int = 3) -> Image.Image:
    draw = np.random.default_rng(height * 1000 + width)
    pixels = draw.integers(0, 256, (height, width, channels), dtype=np.uint8)
    return Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels)


def through(image: Image.Image | Tensor, height: int, width: int, *steps: Any) -> Tensor:
    """The pixels after the steps, of a picture and of the same one as a tensor in either order of memory."""
    channels = len(image) if isinstance(image, Tensor) else len(image.getbands())
    spec = ImageSpec(height, width, (0.0,) * channels, (1.0,) * channels, steps, channels)
    found = run_pipeline(image, spec)
    assert found.dtype == torch.uint8 and found.shape == spec.pixel_shape
    tensor = image if isinstance(image, Tensor) else pil_to_tensor(image)
    assert torch.equal(run_pipeline(tensor.contiguous(), spec), found)
    assert torch.equal(run_pipeline(tensor.permute(1, 2, 0).contiguous().permute(2, 0, 1), spec), found)
    return found


def mode(name: str) -> InterpolationMode:
    return InterpolationMode(name.replace("_", "-"))


@PICTURE
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", PIL_FILTERS)
def test_an_exact_resize_is_pils(name: str, channels: int, size: tuple[int, int]) -> None:
    image = noise(*size, channels)
    wanted = pil_to_tensor(image.resize((40, 24), PIL_FILTERS[name]))
    assert torch.equal(through(image, 24, 40, Resize(height=24, width=40, interpolation=name)), wanted)  # type: ignore[arg-type]


@given(SIDES, st.sampled_from([*PIL_FILTERS]), EDGES, EDGES, EDGES)
def test_transforms_of_pictures_are_torchvisions(
    size: tuple[int, int], name: str, edge: int, height: int, width: int
) -> None:
    image = noise(*size)
    wanted = v1.Compose([v1.Resize(edge, mode(name)), v1.CenterCrop((height, width)), v1.PILToTensor()])(image)
    steps = (Resize(shorter_edge=edge, interpolation=name), CenterCrop(height, width, rounding="even"))  # type: ignore[arg-type]
    assert torch.equal(through(image, height, width, *steps), wanted)


@given(SIDES, st.sampled_from(ON_TENSORS), st.booleans(), EDGES, EDGES, EDGES)
def test_transforms_of_tensors_are_torchvisions(
    size: tuple[int, int], name: str, antialias: bool, edge: int, height: int, width: int
) -> None:
    antialias = antialias or name == "lanczos"
    image = pil_to_tensor(noise(*size))
    wanted = v2.Compose([v2.Resize(edge, mode(name), antialias=antialias), v2.CenterCrop((height, width))])(image)
    step = Resize(shorter_edge=edge, interpolation=name, library="torchvision", antialias=antialias)  # type: ignore[arg-type]
    assert torch.equal(through(image, height, width, step, CenterCrop(height, width, rounding="even")), wanted)


@given(SIDES, st.sampled_from(ON_TENSORS[:-1]), st.booleans(), EDGES, EDGES, EDGES)
def test_older_transforms_of_tensors_are_torchvisions(
    size: tuple[int, int], name: str, antialias: bool, edge: int, height: int, width: int
) -> None:
    image = pil_to_tensor(noise(*size))
    wanted = v1.Compose([v1.Resize(edge, mode(name), antialias=antialias), v1.CenterCrop((height, width))])(image)
    step = Resize(shorter_edge=edge, interpolation=name, library="torchvision_v1", antialias=antialias)  # type: ignore[arg-type]
    assert torch.equal(through(image, height, width, step, CenterCrop(height, width, rounding="even")), wanted)


@PICTURE
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ON_TENSORS)
def test_exact_and_longest_sizes_on_tensors_are_torchvisions(name: str, channels: int, size: tuple[int, int]) -> None:
    image, library = pil_to_tensor(noise(*size, channels)), {"interpolation": name, "library": "torchvision"}
    exact = v2.Resize((24, 40), mode(name))(image)
    assert torch.equal(through(image, 24, 40, Resize(height=24, width=40, **library)), exact)  # type: ignore[arg-type]
    if max(size) > 40 * min(size):
        return  # torchvision makes nothing of it
    longest = v2.CenterCrop(40)(v2.Resize(30, mode(name), max_size=40)(image))
    steps = (Resize(shorter_edge=30, longer_edge=40, **library), CenterCrop(40, 40, rounding="even"))  # type: ignore[arg-type]
    assert torch.equal(through(image, 40, 40, *steps), longest)


@PICTURE
@pytest.mark.parametrize("name", ["bilinear", "bicubic"])
@pytest.mark.parametrize("library", ["pil", "torchvision_v1"])
def test_a_preset_of_torchvision_is_met(library: str, name: str, size: tuple[int, int]) -> None:
    preset = ImageClassification(
        crop_size=29, resize_size=32, mean=(0.0,) * 3, std=(1.0,) * 3, interpolation=mode(name), antialias=True
    )
    image = noise(*size) if library == "pil" else pil_to_tensor(noise(*size))
    steps = (Resize(shorter_edge=32, interpolation=name, library=library), CenterCrop(29, 29, rounding="even"))  # type: ignore[arg-type]
    assert torch.equal(through(image, 29, 29, *steps) / 255, preset(image))


@given(SIDES, EDGES, EDGES, EDGES, st.sampled_from([*RESAMPLINGS]))
def test_steps_of_transformers_are_met(
    size: tuple[int, int], edge: int, height: int, width: int, resample: Image.Resampling
) -> None:
    image, backend = pil_to_tensor(noise(*size)), TorchvisionBackend()
    resized = backend.resize(image, SizeDict(shortest_edge=edge), resample=resample)
    wanted = backend.center_crop(resized, SizeDict(height=height, width=width))
    name = RESAMPLINGS[resample]
    step = Resize(shorter_edge=edge, interpolation=name, library="torchvision")  # type: ignore[arg-type]
    assert torch.equal(through(image, height, width, step, CenterCrop(height, width)), wanted)
    on_pil = PilBackend().resize(image.numpy(), SizeDict(height=height, width=width), resample=resample)
    step = Resize(height=height, width=width, interpolation=name)  # type: ignore[arg-type]
    assert np.array_equal(through(image, height, width, step).numpy(), on_pil)


@PICTURE
def test_processors_of_transformers_are_met(size: tuple[int, int]) -> None:
    image = noise(*size)
    plain: dict[str, Any] = {"do_normalize": False, "do_rescale": False}
    crop = BitImageProcessor(size={"shortest_edge": 33}, crop_size={"height": 30, "width": 27}, **plain)
    steps = (Resize(shorter_edge=33, interpolation="bicubic", library="torchvision"), CenterCrop(30, 27))
    assert torch.equal(through(image, 30, 27, *steps), crop(image, return_tensors="pt")["pixel_values"][0])
    exact = ViTImageProcessor(size={"height": 30, "width": 27}, **plain)
    step = Resize(height=30, width=27, library="torchvision")
    assert torch.equal(through(image, 30, 27, step), exact(image, return_tensors="pt")["pixel_values"][0])


@given(SIDES, st.integers(0, 255))
def test_padding_is_that_of_transformers_and_torchvision(size: tuple[int, int], fill: int) -> None:
    image = pil_to_tensor(noise(*size))
    corner = TorchvisionBackend().pad([image], SizeDict(height=120, width=130), fill_value=fill)[0]
    assert torch.equal(through(image, 120, 130, Pad(120, 130, fill=fill), CenterCrop(120, 130)), corner)
    middle = Pad(120, 120, fill=0, position="center")
    assert torch.equal(through(image, 120, 120, middle, CenterCrop(120, 120)), v2.CenterCrop(120)(image))


def test_padding_to_a_square_keeps_all_of_the_picture() -> None:
    image = pil_to_tensor(noise(3, 8))
    steps = (Pad(fill=7, position="center"), Resize(height=8, width=8, library="torchvision"))
    found = through(image, 8, 8, *steps)
    assert torch.equal(found[:, 2:5], image) and bool((found[:, [0, 1, 5, 6, 7]] == 7).all())


@PICTURE
def test_a_fit_is_pils(size: tuple[int, int]) -> None:
    image = noise(*size)
    assert torch.equal(through(image, 24, 40, Fit(24, 40)), pil_to_tensor(ImageOps.fit(image, (40, 24), 2)))


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def exif(orientation: int) -> Image.Exif:
    block = Image.Exif()
    block[0x0112] = orientation
    return block


def see_through(colours: str) -> Image.Image:
    """A picture with every degree of transparency."""
    image = noise(37, 53, 4)
    return image.convert(colours) if colours != "RGBA" else image


FILES: dict[str, Callable[[], bytes]] = {
    "grey": lambda: saved(noise(37, 53, 1), "PNG"),
    "grey JPEG": lambda: saved(noise(37, 53, 1), "JPEG"),
    "RGBA": lambda: saved(see_through("RGBA"), "PNG"),
    "LA": lambda: saved(see_through("LA"), "PNG"),
    "palette": lambda: saved(noise(37, 53).quantize(64), "PNG", transparency=3),
    "palette, by degrees": lambda: saved(noise(37, 53).quantize(64), "PNG", transparency=bytes(range(0, 256, 4))),
    "palette GIF": lambda: saved(noise(37, 53).quantize(64), "GIF", transparency=3),
    "one bit": lambda: saved(noise(37, 53, 1).convert("1"), "PNG"),
    "CMYK": lambda: saved(noise(37, 53).convert("CMYK"), "JPEG"),
    "JPEG": lambda: saved(noise(37, 53), "JPEG"),
    "progressive": lambda: saved(noise(37, 53), "JPEG", progressive=True),
    "WEBP": lambda: saved(noise(37, 53), "WEBP"),
    **{f"turned {n}": lambda n=n: saved(noise(37, 53), "JPEG", exif=exif(n)) for n in range(1, 9)},  # type: ignore[misc]
    "turned PNG": lambda: saved(noise(37, 53), "PNG", exif=exif(6)),
}


@pytest.mark.parametrize("colours", ["RGB", "L"])
@pytest.mark.parametrize("library", ["pil", "torchvision"])
@pytest.mark.parametrize("name", FILES)
def test_files_of_every_kind_are_what_pil_makes_of_them(name: str, library: str, colours: str) -> None:
    data, channels = FILES[name](), len(colours)
    steps = (Resize(shorter_edge=30, interpolation="bicubic", library=library), CenterCrop(20, 27))  # type: ignore[arg-type]
    spec = ImageSpec(20, 27, (0.5,) * channels, (0.5,) * channels, steps, channels)
    found = decode_image(data, spec)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's advice on palettes that are transparent by degrees
        opened = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert(colours)
    assert torch.equal(found, run_pipeline(opened, spec))


def test_a_long_picture_is_served_where_the_steps_keep_it_small() -> None:
    data = saved(noise(1, 7000), "PNG")
    steps = (Resize(longer_edge=40, interpolation="bicubic", library="torchvision"), Pad(40, 40))
    found = decode_image(data, ImageSpec(40, 40, (0.5,) * 3, (0.5,) * 3, steps))
    wanted = v2.functional.resize(pil_to_tensor(noise(1, 7000)), [1, 40], mode("bicubic"))
    assert torch.equal(found[:, :1], wanted) and not found[:, 1:].any()


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    "steps",
    [
        (Resize(shorter_edge=224), CenterCrop(224, 224)),
        (Resize(shorter_edge=224, library="torchvision"), CenterCrop(224, 224)),
        (Pad(), Resize(height=224, width=224)),
        (CenterCrop(1, 16000), Resize(shorter_edge=224), CenterCrop(224, 224)),
    ],
)
def test_a_thin_picture_is_refused_before_a_step_blows_it_up(steps: tuple[Any, ...], turned: bool) -> None:
    data = saved(noise(16000, 1) if turned else noise(1, 16000), "PNG")
    started = time.process_time()
    with pytest.raises(
        InputError, match=r"would become one of \d+ x \d+ pixels on its way .* at most 50000000"
    ) as refused:
        decode_image(data, ImageSpec(224, 224, (0.5,) * 3, (0.5,) * 3, steps))
    assert refused.value.code == "image_too_many_pixels"
    assert time.process_time() - started < 1


@settings(max_examples=50)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 4000))
def test_the_limit_is_that_of_a_file_or_some_networks(height: int, width: int, most: int) -> None:
    spec = ImageSpec(10, 12, (0.5,) * 3, (0.5,) * 3, (Resize(shorter_edge=20), CenterCrop(10, 12)))
    fits = prod(spec.largest(height, width)) <= max(most, ROOM * 120)
    try:
        run_pipeline(noise(height, width), spec, ImageLimits(max_pixels=most))
    except InputError as error:
        assert not fits and error.code == "image_too_many_pixels"
    else:
        assert fits
