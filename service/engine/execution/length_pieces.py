"""Cuts of a batch of texts into pieces of like lengths, where less padding pays for another pass."""

from __future__ import annotations

from collections.abc import Sequence

from triggers.model import FrozenClassifier

READING = {"cpu": 16, "cuda": 128}
"""Tokens that are computed in the time in which a device reads the weights that they need, once more for each pass."""
STARTING = {"cpu": 1e9, "cuda": 4e12}
"""Operations that a device does in the time in which the kernels of a pass are started."""


def pass_tokens(classifier: FrozenClassifier) -> int:
    """Tokens that one more pass takes as long as; a rough number, from the network's size and the kind of device."""
    weights = sum(weight.numel() for weight in classifier.network.parameters())
    kind = classifier.device.type
    return int(READING.get(kind, 128) + STARTING.get(kind, 4e12) / (2 * max(1, weights)))


def length_pieces(lengths: Sequence[int], most_waste: int) -> list[list[int]]:
    """Indices of rows in pieces, the longest rows first: a cut is made where it saves more than `most_waste` tokens."""
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    pieces, left = [], [order]
    while left:
        piece = left.pop()
        width = lengths[piece[0]]
        saved = [(width - lengths[piece[at]]) * (len(piece) - at) for at in range(len(piece))]
        best = max(range(len(piece)), key=saved.__getitem__)
        if saved[best] > most_waste:
            left += [piece[best:], piece[:best]]
        else:
            pieces.append(piece)
    return pieces
