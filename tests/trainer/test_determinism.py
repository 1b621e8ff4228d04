"""The settings hold inside, and are put back outside."""

from __future__ import annotations

import pytest
import torch

from trainer.distributed import deterministic_algorithms


def test_settings_of_torch_are_put_back() -> None:
    before = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    with pytest.raises(KeyError), deterministic_algorithms(torch.device("cpu"), threads=before[1] + 1):
        assert torch.are_deterministic_algorithms_enabled() and torch.get_num_threads() == before[1] + 1
        raise KeyError("stop")
    assert (torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()) == before
