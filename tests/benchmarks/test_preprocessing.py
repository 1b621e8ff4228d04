"""The table of the preprocessing benchmark is printed, for pixels that are the libraries' own."""

from __future__ import annotations

import pytest

from benchmarks.preprocessing import SIZES, WAYS, main


def test_every_photo_and_library_has_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--rounds", "1"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + len(SIZES) * len(WAYS)
    assert {line.count("|") for line in lines} == {9}
