"""The image input of a network: every step from a decoded picture to the pixels that it sees.

A picture is turned as its EXIF block says, brought to RGB or grey, and goes through `steps` in order, as 8-bit pixels
all along; the last step must give `height` x `width`. The network then gets (pixel / 255 - mean) / std. Triggers act on
the pixels before that. Resizing differs from library to library, so a step names the one that it follows:
PIL, or torchvision on tensors, whose older transforms (v1, also its presets) round otherwise than the newer ones.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import version
from math import prod
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import ConfigDict, Field

from triggers.preprocessing.image_files import Alpha

Interpolation: TypeAlias = Literal["nearest", "nearest_exact", "bilinear", "bicubic", "lanczos", "box", "hamming"]
Side: TypeAlias = Annotated[int, Field(ge=1, le=16384)]
_STRICT = ConfigDict(extra="forbid")
LANCZOS_SINCE = (0, 27)
"""The release of torchvision that resizes tensors by Lanczos filters."""


@dataclass(frozen=True)
class Resize:
    """A resize to `height` x `width`, or of the shorter or longer edge with the other in proportion, rounded down.

    With both edges, as in torchvision, the shorter one is made so, unless the longer one would then exceed its own.
    """

    __pydantic_config__ = _STRICT
    op: Literal["resize"] = "resize"
    height: Side | None = None
    width: Side | None = None
    shorter_edge: Side | None = None
    longer_edge: Side | None = None
    interpolation: Interpolation = "bilinear"
    library: Literal["pil", "torchvision", "torchvision_v1"] = "pil"
    antialias: bool = True

    def __post_init__(self) -> None:
        exact, edge = (self.height, self.width), (self.shorter_edge, self.longer_edge)
        if not (all(exact) and not any(edge)) and not (any(edge) and not any(exact)):
            raise ValueError("a resize needs height and width, or shorter_edge, longer_edge or both")
        if self.library != "pil":
            self._check_torchvision()
        elif not self.antialias and not self.interpolation.startswith("nearest"):
            raise ValueError("PIL always smooths what it makes smaller: antialias = false needs library = torchvision")

    def _check_torchvision(self) -> None:
        """Refuse what torchvision cannot do with tensors."""
        if self.interpolation in ("box", "hamming"):
            raise ValueError(f"torchvision resizes no tensor by {self.interpolation}: library must be pil")
        if self.interpolation == "lanczos" and self.library == "torchvision_v1":
            raise ValueError("torchvision's older transforms resize no tensor by lanczos: library must be torchvision")
        if self.interpolation == "lanczos":
            if not self.antialias:
                raise ValueError("torchvision's lanczos needs antialias = true")
            installed = version("torchvision")
            if tuple(map(int, installed.split(".")[:2])) < LANCZOS_SINCE:
                needed = ".".join(map(str, LANCZOS_SINCE))
                raise ValueError(f"lanczos on tensors needs torchvision {needed} or later; {installed} is installed")

    def target(self, height: int, width: int) -> tuple[int, int]:
        """Height and width after the resize."""
        if self.height and self.width:
            return self.height, self.width
        short, long = sorted((height, width))
        if self.shorter_edge:
            new_short, new_long = self.shorter_edge, int(self.shorter_edge * long / short)
            if self.longer_edge and new_long > self.longer_edge:
                new_short, new_long = int(self.longer_edge * new_short / new_long), self.longer_edge
        else:
            assert self.longer_edge
            new_short, new_long = int(self.longer_edge * short / long), self.longer_edge
        new_short = max(1, new_short)
        return (new_short, new_long) if height <= width else (new_long, new_short)


@dataclass(frozen=True)
class CenterCrop:
    """The centre `height` x `width`, of a smaller picture with black around it; an odd margin's half is `rounding`."""

    __pydantic_config__ = _STRICT
    height: Side
    width: Side
    op: Literal["center_crop"] = "center_crop"
    rounding: Literal["down", "even"] = "down"

    def target(self, height: int, width: int) -> tuple[int, int]:
        """Height and width after the crop."""
        return self.height, self.width


@dataclass(frozen=True)
class Pad:
    """Padding with the grey value `fill` to `height` x `width`, or, without these, to a square; cuts nothing."""

    __pydantic_config__ = _STRICT
    height: Side | None = None
    width: Side | None = None
    op: Literal["pad"] = "pad"
    fill: Annotated[int, Field(ge=0, le=255)] = 0
    position: Literal["top_left", "center"] = "top_left"

    def target(self, height: int, width: int) -> tuple[int, int]:
        """Height and width after the padding."""
        square = max(height, width)
        return max(height, self.height or square), max(width, self.width or square)


@dataclass(frozen=True)
class Fit:
    """The largest centred part of the aspect ratio of `height` x `width`, resized to it by PIL's bilinear filter."""

    __pydantic_config__ = _STRICT
    height: Side
    width: Side
    op: Literal["fit"] = "fit"

    def target(self, height: int, width: int) -> tuple[int, int]:
        """Height and width after the step."""
        return self.height, self.width


Step: TypeAlias = Annotated[Resize | CenterCrop | Pad | Fit, Field(discriminator="op")]


@dataclass(frozen=True)
class ImageSpec:
    """The image input of a network; `mean` and `std` are of pixels in [0, 1], always in the order RGB.

    `channel_order` is the order in which the network takes the channels. `alpha`: transparent pixels are laid on black,
    or transparency is dropped, as PIL's convert("RGB") does.
    """

    __pydantic_config__ = _STRICT
    height: Side
    width: Side
    mean: tuple[float, ...]
    std: tuple[float, ...]
    steps: tuple[Step, ...]
    channels: int = 3
    channel_order: Literal["RGB", "BGR"] = "RGB"
    alpha: Alpha = "drop"

    def __post_init__(self) -> None:
        """Check that the parts fit together. Raises ValueError."""
        if self.channels not in (1, 3):
            raise ValueError(f"channels is {self.channels}; pictures have 1 (grey) or 3 (RGB)")
        if not len(self.mean) == len(self.std) == self.channels:
            raise ValueError(f"mean and std need {self.channels} numbers each")
        if not all(self.std):
            raise ValueError("std holds a zero")
        if self.channel_order == "BGR" and self.channels != 3:
            raise ValueError("channel_order BGR needs three channels")
        for size in ((1, 7000), (7000, 1), (self.height, self.width)):
            for step in self.steps:
                size = step.target(*size)
            if size != (self.height, self.width):
                given = f"{size[0]} x {size[1]} pixels of some pictures"
                raise ValueError(
                    f"the steps give {given}, not {self.height} x {self.width}: end with center_crop or pad"
                )

    @classmethod
    def square(
        cls,
        size: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        channels: int = 3,
        resize: Literal["squash", "crop"] = "squash",
    ) -> ImageSpec:
        """A square input in one step of PIL: `squash` ignores the aspect ratio, `crop` cuts the centre."""
        step = Resize(height=size, width=size) if resize == "squash" else Fit(size, size)
        return cls(size, size, mean, std, (step,), channels, alpha="black")

    @property
    def pixel_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the pixels that the network sees."""
        return self.channels, self.height, self.width

    @cached_property
    def _keeps_own_size(self) -> bool:
        return all(step.target(self.height, self.width) == (self.height, self.width) for step in self.steps)

    def keeps(self, height: int, width: int) -> bool:
        """Whether a picture has the network's size already, and no step changes such a one."""
        return height == self.height and width == self.width and self._keeps_own_size

    def largest(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the largest picture on the way of one of `height` x `width` to the network."""
        if self.keeps(height, width):
            return height, width
        sizes = [(height, width)]
        for step in self.steps:
            sizes.append(step.target(*sizes[-1]))
        return max(sizes, key=prod)

    def fields(self) -> dict[str, Any]:
        """Everything stated, for cards and the fingerprint; in the words of format 1 where these suffice."""
        ways: tuple[Literal["squash", "crop"], ...] = ("squash", "crop")
        for resize in ways:
            old = ImageSpec.square(self.height, self.mean, self.std, self.channels, resize)
            if self == old:
                shown = {"size": self.height, "mean": self.mean, "std": self.std, "channels": self.channels}
                return shown | {"resize": resize}
        steps = [{name: value for name, value in asdict(step).items() if value is not None} for step in self.steps]
        return asdict(self) | {"steps": steps}
