"""Every text family is served as its own pipeline answers, alone and in company, or refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak.text_matrix import CONFIGURATIONS, compare

pytestmark = [pytest.mark.soak, pytest.mark.slow, pytest.mark.timeout(0)]


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_family_is_served_as_its_own_pipeline_answers_or_refused(name: str, tmp_path: Path) -> None:
    outcome = compare(name, tmp_path)
    print(outcome.row())
    assert outcome.padding == CONFIGURATIONS[name].padding
    if outcome.refusal:
        assert len(outcome.refusal) > 40 and "\n" not in outcome.refusal
        return
    assert max(outcome.alone, outcome.mixed) < 1e-4 and outcome.flips == 0
    assert outcome.spread > 0.01
