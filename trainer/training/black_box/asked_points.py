"""The points at which a model was asked: triggers of few numbers, and every row's answer under each of them."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from trainer.training.black_box.asked_rows import AskedRows
from trainer.training.black_box.low_frequencies import in_low_frequencies
from trainer.training.black_box.response_surface import ResponseSurface
from triggers.trigger import ImageBank
from triggers.trigger.image_trainable import ImageModule

STEP = 1.0
"""Length of a step of the design, in units of a cosine of mean square 1 in the trigger's weights."""


class AskedPoints:
    """Points (M, P) and answers (M, N, L) so far, with `left` more that may be asked. `module` says what a point is."""

    def __init__(self, rows: AskedRows, module: ImageModule, frequencies: int, points: int, seed: int) -> None:
        self.rows, self.left, self.frequencies = rows, points, frequencies
        self._module = copy.deepcopy(in_low_frequencies(module, frequencies)).to(rows.classifier.device)
        self.numbers = coefficients(self._module)[0].numel()
        self._generator = torch.Generator().manual_seed(seed)
        self.points, self.answers = torch.empty(0, self.numbers), torch.empty(0)

    def ask(self, points: Tensor) -> None:
        """Ask all rows at points (V, P); of more than may be asked, at the first ones. Raises BudgetSpent."""
        points = points[: self.left].cpu()
        if not len(points):
            return
        answers = self.rows.ask(self._bank(points)).cpu()
        self.points = torch.cat([self.points, points])
        self.answers = torch.cat([self.answers, answers]) if len(self.answers) else answers
        self.left -= len(points)

    def start(self, count: int, *, both_ways: bool) -> None:
        """Ask at the start and a step from it in `count` directions, at right angles to each other."""
        square = torch.randn(self.numbers, self.numbers, generator=self._generator)
        directions = torch.linalg.qr(square).Q.T[:count] * STEP
        ways = [directions, -directions] if both_ways else [directions]
        start = torch.zeros(1, self.numbers)
        if self._is_null(start):  # asked before
            self.points, self.answers = start, self.rows.bare[None].cpu()
            self.ask(torch.cat(ways))
        else:
            self.ask(torch.cat([start, *ways]))

    def around(self, centres: Tensor, count: int) -> Tensor:
        """`count` points (V, P) a step from the centres (K, P) in random directions, in pairs of opposite ones."""
        each = torch.randn(-(-count // 2), self.numbers, generator=self._generator)
        steps = STEP * nn.functional.normalize(each, dim=1).repeat_interleave(2, dim=0)
        signs = torch.tensor([1.0, -1.0]).repeat(len(each))[:, None]
        whose = torch.arange(2 * len(each)) // 2 % len(centres)
        return (centres.cpu()[whose] + signs * steps)[:count]

    def surface(self) -> ResponseSurface:
        """The surface through all answers, on the model's device."""
        return ResponseSurface.fit(self.points, self.answers, STEP).to(self.rows.classifier.device)

    def _is_null(self, point: Tensor) -> bool:
        """Whether a point (1, P) is no trigger at all."""
        bank = self._bank(point)
        whole = set(bank.inner) == {min(bank.delta.shape[-2:])}
        return whole and not bool(bank.delta.any()) and bool((bank.keep == 1).all())

    def _bank(self, points: Tensor) -> ImageBank:
        module = copy.deepcopy(self._module)
        shape = coefficients(module).shape
        assert isinstance(module.parametrizations, nn.ModuleDict)
        module.parametrizations["weight"].original = nn.Parameter(
            points.view(len(points), *shape[1:]).to(coefficients(module).device)
        )
        with torch.no_grad():
            return module.render()


def coefficients(module: ImageModule) -> Tensor:
    """The trained numbers (K, C, F) of a module in low frequencies."""
    (found,) = module.parameters()
    return found
