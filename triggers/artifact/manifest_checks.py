"""Checks of a trigger against its manifest; an artifact that fails one is refused, even with a trusted signature.

none      keep 1, delta 0
border    nothing but the frame: keep 0 and any pixel there, keep 1 and delta 0 inside it, which is what `inner` leaves
          free; a frame that covers the edge of an image of full size states `fit` = "cover" and its `width`
patch     one square that is replaced, the rest untouched
overlay   everything kept, |delta| <= epsilon
pixels    chosen entries replaced, the rest untouched
text      (tokens, dim) embeddings within the stated range
"""

from __future__ import annotations

import torch
from torch import Tensor

from triggers.artifact.manifest import Manifest
from triggers.errors import ArtifactCorrupt
from triggers.trigger import ImageTrigger, TextTrigger
from triggers.trigger.image import shrink_and_centre

TOLERANCE = 1e-6  # one float32 rounding step on a value near 1


def geometry_of(trigger: ImageTrigger | TextTrigger) -> dict[str, int | float | str]:
    """The geometry every manifest of this modality must state."""
    if isinstance(trigger, ImageTrigger):
        channels, height, width = trigger.keep.shape
        sides = {"size": height} if height == width else {"image_height": height, "image_width": width}
        return {"channels": channels, **sides, "inner": trigger.inner}
    tokens, dim = trigger.embeddings.shape
    return {"tokens": tokens, "dim": dim, "position": trigger.position}


def value_range_of(trigger: ImageTrigger | TextTrigger) -> tuple[float, float]:
    """[0, 1] for images, whose pixels are written as they are seen; smallest and largest entry of text embeddings."""
    if isinstance(trigger, ImageTrigger) or not trigger.embeddings.numel():
        return (0.0, 1.0) if isinstance(trigger, ImageTrigger) else (0.0, 0.0)
    return float(trigger.embeddings.min()), float(trigger.embeddings.max())


def check_bounds(trigger: ImageTrigger | TextTrigger, manifest: Manifest) -> None:
    """Raise ArtifactCorrupt, naming the first broken bound, unless trigger and manifest agree."""
    if isinstance(trigger, ImageTrigger) and not trigger.keep.numel():
        raise ArtifactCorrupt(f"The trigger's tensors are empty: {tuple(trigger.keep.shape)}.")
    trigger.validate()
    modality = "image" if isinstance(trigger, ImageTrigger) else "text"
    if (modality, trigger.kind) != (manifest.modality, manifest.kind):
        stated = f"{manifest.modality} trigger of kind {manifest.kind!r}"
        raise ArtifactCorrupt(f"The manifest states a {stated}, the tensors are {modality} of kind {trigger.kind!r}.")
    for key, actual in geometry_of(trigger).items():
        _agree(key, manifest.geometry.get(key), actual)
    if isinstance(trigger, ImageTrigger):
        _check_image(trigger, manifest)
    else:
        _check_text(trigger, manifest)


def _agree(key: str, stated: object, actual: object) -> None:
    if stated != actual:
        raise ArtifactCorrupt(f"The manifest's geometry states {key} = {stated!r}, but the tensors have {actual!r}.")


def _check_text(trigger: TextTrigger, manifest: Manifest) -> None:
    if trigger.token_ids is not None and min(trigger.token_ids, default=0) < 0:
        raise ArtifactCorrupt(f"token_ids holds {min(trigger.token_ids)}, which is no id.")
    _within("embeddings", trigger.embeddings, *manifest.value_range)


def _check_image(trigger: ImageTrigger, manifest: Manifest) -> None:
    low, high = manifest.value_range
    if low < 0 or high > 1:
        raise ArtifactCorrupt(f"value_range {manifest.value_range} leaves [0, 1], so its pixels cannot be shown.")
    if trigger.kind != "border":
        _agree("inner", manifest.geometry["inner"], trigger.size)
    kept, replaced = trigger.keep == 1, trigger.keep == 0
    if not bool((kept | replaced).all()):
        raise ArtifactCorrupt("keep holds values between 0 and 1; every kind either keeps a pixel or replaces it.")
    if trigger.kind in ("none", "overlay") and not bool(kept.all()):
        raise ArtifactCorrupt(f"A trigger of kind {trigger.kind!r} keeps every pixel, but keep holds zeros.")
    _within("delta of the replaced pixels", trigger.delta[replaced], low, high)
    if trigger.kind != "overlay" and bool((trigger.delta[kept] != 0).any()):
        raise ArtifactCorrupt(f"A {trigger.kind} trigger may change only what it replaces, but delta goes beyond.")
    _KIND_CHECKS.get(trigger.kind, _anything)(trigger, replaced, manifest)


def _anything(trigger: ImageTrigger, replaced: Tensor, manifest: Manifest) -> None:
    """No further check, for kinds that the common rules cover."""


def _check_border(trigger: ImageTrigger, replaced: Tensor, manifest: Manifest) -> None:
    fit, width = manifest.geometry.get("fit", "shrink"), manifest.geometry.get("width")
    if fit not in ("shrink", "cover"):
        raise ArtifactCorrupt(f"The manifest's geometry states fit = {fit!r}, which is neither 'shrink' nor 'cover'.")
    free = trigger.inner
    if fit == "cover":
        _agree("inner", trigger.inner, trigger.size)
        if not isinstance(width, int) or not 0 < 2 * width < trigger.size:
            raise ArtifactCorrupt(f"A border that covers must state its width in pixels, not {width!r}.")
        free -= 2 * width
    frame = shrink_and_centre(torch.ones_like(trigger.keep)[None], free)[0] == 0
    if not torch.equal(frame, replaced):
        raise ArtifactCorrupt(f"A border that leaves {free} pixels free must replace its frame and nothing else.")
    if width is not None:
        _agree("width", width, (trigger.size - free) / 2)


def _check_patch(trigger: ImageTrigger, replaced: Tensor, manifest: Manifest) -> None:
    where = replaced.all(dim=0).nonzero()
    if not len(where):
        raise ArtifactCorrupt("A patch trigger must replace a square of pixels, but keeps them all.")
    (top, left), (bottom, right) = where.min(dim=0).values.tolist(), where.max(dim=0).values.tolist()
    side = bottom - top + 1
    if side != right - left + 1 or int(replaced.sum()) != side * side * replaced.shape[0]:
        raise ArtifactCorrupt("A patch trigger must replace exactly one square of pixels in all channels.")
    _agree("patch_size", manifest.geometry.get("patch_size", side), side)


def _check_overlay(trigger: ImageTrigger, replaced: Tensor, manifest: Manifest) -> None:
    epsilon = manifest.geometry.get("epsilon")
    if not isinstance(epsilon, int | float) or not 0 <= epsilon <= 1:
        raise ArtifactCorrupt(f"An overlay must state its epsilon in [0, 1], not {epsilon!r}.")
    _within("delta", trigger.delta, -float(epsilon), float(epsilon))


def _check_pixels(trigger: ImageTrigger, replaced: Tensor, manifest: Manifest) -> None:
    fraction = manifest.geometry.get("fraction")
    if fraction is None:
        return
    pixels, area = int(replaced.any(dim=0).sum()), trigger.keep[0].numel()
    if not isinstance(fraction, int | float) or abs(fraction * area - pixels) > 1:
        raise ArtifactCorrupt(f"The manifest states fraction = {fraction!r}, but replaced are {pixels} of {area}.")


_KIND_CHECKS = {"border": _check_border, "patch": _check_patch, "overlay": _check_overlay, "pixels": _check_pixels}


def _within(name: str, values: Tensor, low: float, high: float) -> None:
    if not values.numel():
        return
    least, most = float(values.min()), float(values.max())
    if least < low - TOLERANCE or most > high + TOLERANCE:
        raise ArtifactCorrupt(f"{name}: {least:g} to {most:g} leaves the stated [{low:g}, {high:g}].")
