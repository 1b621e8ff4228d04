"""Limits of settings, at their ends."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from service.config import Settings


@pytest.mark.parametrize("epsilon", [0.0, 0.5, 20.0])
def test_noise_of_what_is_disclosed_may_be_less_or_none(epsilon: float) -> None:
    assert Settings(disclosure_epsilon=epsilon).disclosure_epsilon == epsilon


@pytest.mark.parametrize("epsilon", [-0.1, 20.5])
def test_noise_beyond_its_range_is_refused(epsilon: float) -> None:
    with pytest.raises(ValidationError, match="disclosure_epsilon"):
        Settings(disclosure_epsilon=epsilon)
