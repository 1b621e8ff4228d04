"""Whole rollouts swapped under load; `python -m tests.service.swapping` does it a thousand times and measures."""

from __future__ import annotations

import httpx
import pytest

from tests.service.swapping import swap_under_load


@pytest.mark.slow
def test_rollouts_swapped_under_load_fail_nobody_and_mix_nothing(service: httpx.Client) -> None:
    report = swap_under_load(service, swaps=40, pause=0.02, clients=3)
    assert report.failures[:5] == []
    assert report.answers > 80 and len(report.to_first_answer) == 40
    assert report.to_first_answer[-1] < 5000
