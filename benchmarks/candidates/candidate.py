"""A candidate: a pass under a trainable change of the inputs, over one or several views, and an offset on features.

logits = mean over views of [classifier(change(view(x))) + [(features - centre) / scale, 1] @ matrix], features being
the penultimate ones of that very pass. Whatever of it a candidate lacks is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmarks.candidates.passes import Pass
from trainer.data import shift_images
from trainer.evaluation.network_outputs import captured_features
from triggers.model import FrozenClassifier
from triggers.preprocessing import Inputs, TextBatch

SLOW = 0.05
"""Learning rate of networks and offsets as a share of that of pixels and words."""


@dataclass(frozen=True)
class View:
    """A look at an image: mirrored or not, moved down and right by so many pixels, the border repeated."""

    mirror: bool = False
    shift: int = 0

    def of(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) in this view."""
        seen = images.flip(-1) if self.mirror else images
        return (
            shift_images(seen, torch.full((2, len(images)), self.shift, device=images.device)) if self.shift else seen
        )


ONE_VIEW = (View(),)


class FeatureOffset(nn.Module):
    """K matrices on standardised features and a constant 1: (K or 1, B, F) to what is added to the logits (K, B, L)."""

    centre: Tensor
    scale: Tensor

    def __init__(self, centre: Tensor, scale: Tensor, labels: int, count: int) -> None:
        super().__init__()
        self.register_buffer("centre", centre)
        self.register_buffer("scale", scale)
        self.matrix = nn.Parameter(torch.zeros(count, len(centre) + 1, labels))

    def forward(self, features: Tensor) -> Tensor:
        """The offsets."""
        standard = (features - self.centre) / self.scale
        return standard @ self.matrix[:, :-1] + self.matrix[:, -1:]


class Candidate(nn.Module):
    """K of one kind side by side; `views` are the passes that each input takes."""

    def __init__(self, change: Pass, offset: FeatureOffset | None = None, views: Sequence[View] = ONE_VIEW) -> None:
        super().__init__()
        self.change, self.offset, self.views = change, offset, tuple(views)

    def logits(self, classifier: FrozenClassifier, inputs: Inputs) -> Tensor:
        """Logits (K, B, L), differentiable in the parameters; (1, B, L) where nothing is trained."""
        if isinstance(inputs, TextBatch):
            return torch.cat([self._pass(classifier, piece) for piece in _pieces(inputs)], dim=1)
        found = self._pass(classifier, torch.cat([view.of(inputs) for view in self.views]))
        return found.view(len(found), len(self.views), len(inputs), -1).mean(dim=1)

    def groups(self) -> list[tuple[list[nn.Parameter], float]]:
        """Parameters with the share of the learning rate that they take."""
        slow = self.change.slow_parameters() + (list(self.offset.parameters()) if self.offset else [])
        known = {id(one) for one in slow}
        fast = [one for one in self.parameters() if id(one) not in known]
        return [(found, share) for found, share in ((fast, 1.0), (slow, SLOW)) if found]

    def _pass(self, classifier: FrozenClassifier, inputs: Inputs) -> Tensor:
        with ExitStack() as stack:
            features_of = stack.enter_context(captured_features(classifier)) if self.offset else None
            logits: Tensor = self.change(classifier, inputs)
            if self.offset is None or features_of is None:
                return logits
            features = features_of(logits).float().view(*logits.shape[:2], -1)
            moved: Tensor = logits + self.offset(features)
            return moved


def _pieces(batch: TextBatch) -> list[TextBatch]:
    """Texts of similar length together, so that short ones need little padding."""
    if not batch.pieces:
        return [batch]
    starts = [0, *torch.tensor([rows for rows, _ in batch.pieces]).cumsum(0).tolist()]
    return [
        TextBatch(batch.ids[start : start + rows, :width], batch.lengths[start : start + rows])
        for start, (rows, width) in zip(starts, batch.pieces, strict=False)
    ]
