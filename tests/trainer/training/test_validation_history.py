"""What a run keeps of its validations, and that it survives being written down and read back."""

from __future__ import annotations

import torch
from torch import nn

from trainer.training.validation_history import ValidationHistory


class Levels(nn.Module):
    """One number per strength, two strengths."""

    def __init__(self) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.zeros(2))

    def put(self, *levels: float) -> None:
        self.level.data = torch.tensor(levels, dtype=torch.float32)


def filled(module: Levels) -> ValidationHistory:
    """Two validations of three rows, after steps 10 and 20."""
    history = ValidationHistory(module)
    for step in (10, 20):
        module.put(step, -step)
        history.offer(step, lambda step=step: torch.tensor([[0, 1, step], [1, 0, -step]]))  # type: ignore[misc]
    return history


def check(history: ValidationHistory) -> None:
    assert history.steps == [10, 20]
    assert [found.tolist() for found in history.predictions] == [[[0, 1, s], [1, 0, -s]] for s in (10, 20)]
    assert [parameters["level"].tolist() for parameters in history.parameters] == [[10, -10], [20, -20]]


def test_everything_is_kept_as_it_was() -> None:
    module = Levels()
    history = filled(module)
    module.put(5, 6)  # training goes on
    check(history)


def test_every_strength_is_put_back_as_it_was_at_its_own_validation() -> None:
    module = Levels()
    history = filled(module)
    module.put(5, 6)
    history.restore_module([1, 0])
    assert module.level.tolist() == [20, -10]
    check(history)


def test_a_history_is_read_back_and_goes_on() -> None:
    module = Levels()
    again = ValidationHistory(module)
    again.restore(filled(Levels()).tensors())
    check(again)
    module.put(3, 4)
    again.offer(30, lambda: torch.zeros(2, 3))
    assert again.steps == [10, 20, 30]
    assert again.parameters[-1]["level"].tolist() == [3, 4]


def test_an_empty_history_is_read_back() -> None:
    again = filled(Levels())
    again.restore(ValidationHistory(Levels()).tensors())
    assert (again.steps, again.predictions, again.parameters) == ([], [], [])
