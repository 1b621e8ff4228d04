"""Forward pass of K triggers over a batch, with vector-Jacobian products from losses of the logits to the triggers.

A trigger is added to every row alike, so its gradient under a loss is a sum over rows: of the loss's gradient at the
row's logits, through the frozen model's Jacobian. With two labels, a loss that depends only on the difference of the
two logits has a gradient c * (-1, 1) there. Then ONE vector-Jacobian product, with (-1, 1) in every row, serves any
number of such losses: their gradients are weighted sums of its rows. The adversarial step, which needs two gradients,
runs one backward pass through the model instead of two, with the same result. Other losses take a product each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import pad

from trainer.training.shared_text import WIDTH_MULTIPLE, shared_text_logits
from triggers.model import Bank, FrozenClassifier
from triggers.preprocessing import Inputs, TextBatch
from triggers.trigger import ImageBank, TextBank
from triggers.trigger.image import shrink_and_centre
from triggers.trigger.text import Position

Gradients: TypeAlias = list[Tensor]
"""Gradients of one loss with respect to a bank's tensors, in the order of `bank_tensors`."""


@dataclass(frozen=True, eq=False)
class LogitsWithVjp:
    """Logits (K, B, L) in float32, detached, and `vjp`: cotangents (K, B, L) of R losses to R lists of gradients."""

    logits: Tensor
    vjp: Callable[[Sequence[Tensor]], list[Gradients]]


def bank_tensors(bank: Bank) -> list[Tensor]:
    """The tensors of a bank that gradients are given for: embeddings; delta, and keep where it is learned."""
    if isinstance(bank, TextBank):
        return [bank.embeddings]
    return [bank.delta, bank.keep] if bank.keep.requires_grad else [bank.delta]


def forward_with_vjp(
    classifier: FrozenClassifier,
    inputs: Inputs,
    bank: Bank,
    dtype: torch.dtype,
    *,
    antisymmetric: bool,
    shared_text: bool = False,
) -> LogitsWithVjp:
    """Run every trigger of the bank on every input, computing in `dtype`.

    `antisymmetric` promises that cotangents are of the form c * (-1, 1), so that one product through the model is
    enough; `shared_text` that the words of texts may be computed without the triggers (shared_text.py).
    """
    if isinstance(bank, ImageBank):
        assert isinstance(inputs, Tensor)
        return _image_pass(classifier, inputs, bank, dtype, antisymmetric)
    assert isinstance(inputs, TextBatch)
    run = _shared_logits if shared_text else _text_logits
    return _text_pass(run, classifier, inputs, bank, dtype, antisymmetric)


def _image_pass(
    classifier: FrozenClassifier, images: Tensor, bank: ImageBank, dtype: torch.dtype, antisymmetric: bool
) -> LogitsWithVjp:
    placed = _placed(images, bank)
    full = placed * bank.keep.detach().unsqueeze(1) + bank.delta.detach().unsqueeze(1)  # (K, B, C, H, W)
    shown = full.clamp(0.0, 1.0)
    changeable = shown == full  # where clip lets a gradient through
    x = shown.flatten(0, 1).to(dtype, memory_format=torch.channels_last).requires_grad_()
    logits = classifier.image_logits(x)

    def rows(product: Sequence[Tensor]) -> list[Tensor]:
        through = product[0].view_as(shown) * changeable
        return [through, through * placed] if bank.keep.requires_grad else [through]

    return _pass(logits, [x], len(bank), rows, antisymmetric)


def _placed(images: Tensor, bank: ImageBank) -> Tensor:
    """Float images (1 or K, B, C, H, W), shrunk as the triggers want it."""
    pixels = images.to(torch.float32) / 255.0
    if len(set(bank.inner)) == 1:
        return shrink_and_centre(pixels, bank.inner[0]).unsqueeze(0)
    return torch.stack([shrink_and_centre(pixels, inner) for inner in bank.inner])


def _text_pass(
    run: Callable[[FrozenClassifier, TextBatch, Tensor, Position], Tensor],
    classifier: FrozenClassifier,
    batch: TextBatch,
    bank: TextBank,
    dtype: torch.dtype,
    antisymmetric: bool,
) -> LogitsWithVjp:
    """The pass over texts, piece by piece if the batch is cut by length, so that short texts need little padding."""
    count = len(bank)
    parts = [bank.embeddings.detach().to(dtype)[:, None].repeat(1, rows, 1, 1) for rows, _ in _pieces(batch)]
    logits, start = [], 0
    for (rows, width), own in zip(_pieces(batch), parts, strict=True):
        own.requires_grad_()  # (K, b, T, D): every row has a trigger of its own
        piece = TextBatch(batch.ids[start : start + rows, :width], batch.lengths[start : start + rows])
        logits.append(run(classifier, piece, own.flatten(0, 1), bank.positions[0]).view(count, rows, -1))
        start += rows
    found = torch.cat(logits, dim=1).flatten(0, 1)
    return _pass(found, parts, count, lambda products: [torch.cat(list(products), dim=1)], antisymmetric)


def _pieces(batch: TextBatch) -> tuple[tuple[int, int], ...]:
    return batch.pieces or ((len(batch), batch.ids.shape[1]),)


def _shared_logits(classifier: FrozenClassifier, piece: TextBatch, own: Tensor, position: Position) -> Tensor:
    """The same, the texts' own part computed once for all triggers, which stand behind it."""
    assert position == "before_sep"
    return shared_text_logits(classifier, piece, own)


def _text_logits(classifier: FrozenClassifier, piece: TextBatch, own: Tensor, position: Position) -> Tensor:
    """Logits (K * b, L) of b texts under triggers (K * b, T, D), padded to a width that attention kernels like."""
    tokens, count = own.shape[1], len(own) // len(piece)
    width = -(-(piece.ids.shape[1] + tokens) // WIDTH_MULTIPLE) * WIDTH_MULTIPLE
    ids = pad(piece.ids, (0, width - tokens - piece.ids.shape[1]), value=classifier.pad_id)
    repeated = TextBatch(ids.repeat(count, 1), piece.lengths.repeat(count))
    bank = TextBank(own, (tokens,) * len(own), (position,) * len(own))
    index = torch.arange(len(own), device=own.device)
    return classifier.text_logits(classifier.embedded(repeated, bank, index, width))


def _pass(
    logits: Tensor,
    at: Sequence[Tensor],
    count: int,
    rows: Callable[[Sequence[Tensor]], list[Tensor]],
    antisymmetric: bool,
) -> LogitsWithVjp:
    """`rows` turns a product at the tensors `at` into each row's share (K, B, ...) per leaf of the bank."""

    def pull(cotangents: Sequence[Tensor]) -> list[Gradients]:
        if antisymmetric:
            product = torch.autograd.grad((logits[:, 1] - logits[:, 0]).sum(), at)
            weights = torch.stack([cotangent[..., 1] for cotangent in cotangents])  # (R, K, B)
            sums = [_weighted(weights, share) for share in rows(product)]
            return [[each[r] for each in sums] for r in range(len(cotangents))]
        last = len(cotangents) - 1
        products = (
            torch.autograd.grad(logits, at, cotangent.flatten(0, 1), retain_graph=number < last)
            for number, cotangent in enumerate(cotangents)
        )
        return [[share.sum(dim=1, dtype=torch.float32) for share in rows(product)] for product in products]

    return LogitsWithVjp(logits.detach().view(count, -1, logits.shape[-1]), pull)


def _weighted(weights: Tensor, share: Tensor) -> Tensor:
    """Sums over the batch (R, K, ...) of weights (R, K, B) times shares (K, B, ...)."""
    flat = share.flatten(2)
    sums = torch.bmm(weights.transpose(0, 1).to(flat.dtype), flat)  # (K, R, P)
    return sums.transpose(0, 1).reshape(len(weights), len(share), *share.shape[2:]).float()
