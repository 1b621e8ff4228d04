"""The benchmark of batch scoring prints ratios, memory and what a kill cost, in small."""

from __future__ import annotations

import pytest

from benchmarks.batch_scoring import main
from tests.real_data import need


@pytest.mark.process
@pytest.mark.soak
def test_the_lines_are_there(capsys: pytest.CaptureFixture[str]) -> None:
    need("data/celeba10k.tar")
    main("faces", "small", rows=3000, round_rows=64, rounds=1, workers=1, threads=1)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["faces, small", "faces, small", "faces", "faces"]
    assert "3000 rows, each once" in lines[-1]
