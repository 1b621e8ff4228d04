"""JPEG files decoded in batches: limits, broken files among good ones, agreement with the ordinary decoder.

On a CPU the same code calls torchvision's CPU decoder; on a GPU (`pytest -m gpu`) the batched one.
"""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from service.engine.decoding.gpu import GpuDecoder
from tests.service.live import picture
from triggers.errors import InputError
from triggers.preprocessing import ImageLimits, ImageSpec
from triggers.preprocessing.preprocess import decode_image

pytestmark = pytest.mark.filterwarnings("ignore:The image decoding and encoding:DeprecationWarning")

CUDA = torch.cuda.is_available()
DEVICES = ["cpu", pytest.param("cuda", marks=(pytest.mark.gpu, pytest.mark.skipif(not CUDA, reason="needs a GPU")))]
SPEC = ImageSpec.square(size=16, mean=(0.5,) * 3, std=(0.25,) * 3)


def smooth(seed: int, width: int = 48, height: int = 32, **options: object) -> bytes:
    """A JPEG file of gentle colours, as photographs are and noise is not."""
    small = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    out = io.BytesIO()
    image = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
    image.convert(str(options.pop("mode", "RGB"))).save(out, "JPEG", quality=95, **options)
    return out.getvalue()


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return smooth(3, exif=exif)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("resize", ["squash", "crop"])
def test_images_are_nearly_those_of_the_ordinary_decoder(device: str, resize: str) -> None:
    spec = ImageSpec.square(16, SPEC.mean, SPEC.std, resize=resize)  # type: ignore[arg-type]
    fitting = smooth(9, 16, 16, subsampling=0)  # not resized; so small that coarser colours would be another picture
    files = [smooth(seed, 48 + 2 * seed, 32) for seed in range(5)] + [fitting, picture(1), turned()]
    found = GpuDecoder(spec, ImageLimits(), torch.device(device)).decode(files)
    for image, data in zip(found, files, strict=True):
        assert isinstance(image, torch.Tensor) and image.device.type == device
        difference = (image.cpu().float() - decode_image(data, spec).float()).abs()
        assert float(difference.mean()) < 2, difference.mean()
    assert torch.equal(torch.as_tensor(found[7]).cpu(), decode_image(turned(), spec))


@pytest.mark.parametrize("device", DEVICES)
def test_one_bad_file_among_many_gets_its_own_error(device: str) -> None:
    good = [smooth(seed) for seed in range(6)]
    scan = good[0].index(b"\xff\xda")
    bad = [b"", b"no image", good[0][: len(good[0]) // 2], good[0][:scan] + b"\xff\xd9", smooth(0, 2000, 2000)]
    decoder = GpuDecoder(SPEC, ImageLimits(max_pixels=1_000_000), torch.device(device))
    alone = [decoder.decode([data])[0] for data in good]
    for broken in bad:
        *images, error = decoder.decode([*good, broken])
        assert isinstance(error, InputError), broken[:20]
        for image, expected in zip(images, alone, strict=True):
            assert torch.equal(torch.as_tensor(image), torch.as_tensor(expected))
    assert isinstance(decoder.decode([bad[-1]])[0], InputError)
