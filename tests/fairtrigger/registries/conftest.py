"""The command, as a user calls it, over a store that a test fills."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fairtrigger.cli.main import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Call the command; returns (status, stdout, stderr). The store is tmp_path/store unless the words name one."""
    monkeypatch.setenv("FAIRTRIGGER_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(list(words))
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return int(ended.value.code or 0), out, err

    return call
