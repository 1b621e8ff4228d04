"""Secrets that stand in files, as containers are given them."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.__main__ import main
from service.config.settings import Settings
from triggers.errors import ConfigError


def test_read_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("  a-long-token\n")
    (tmp_path / "keys").write_text("a2V5MQ==,a2V5Mg==\n")
    monkeypatch.setenv("FAIRTRIGGER_ADMIN_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("FAIRTRIGGER_RECEIPT_KEYS_FILE", str(tmp_path / "keys"))
    settings = Settings()
    assert settings.admin_token and settings.admin_token.get_secret_value() == "a-long-token"
    assert [key.get_secret_value() for key in settings.receipt_keys] == ["a2V5MQ==", "a2V5Mg=="]
    assert "a-long-token" not in repr(settings)


def test_options_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "store").write_text("/elsewhere")
    monkeypatch.setenv("FAIRTRIGGER_STORE_FILE", str(tmp_path / "store"))
    assert Settings().store == "/elsewhere"
    assert Settings(store="here").store == "here"


def test_one_place_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("a-long-token")
    monkeypatch.setenv("FAIRTRIGGER_ADMIN_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("FAIRTRIGGER_ADMIN_TOKEN", "another-token")
    with pytest.raises(ConfigError, match="keep one"):
        Settings()


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff\xfe", b"a" * 70_000])
def test_unusable_files(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("FAIRTRIGGER_ADMIN_TOKEN_FILE", str(path))
    assert main([]) == 2
    error = capsys.readouterr().err
    assert "FAIRTRIGGER_ADMIN_TOKEN_FILE" in error and str(path) in error


def test_only_secrets_may_be_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "host").write_text("0.0.0.0")
    monkeypatch.setenv("FAIRTRIGGER_HOST_FILE", str(tmp_path / "host"))
    assert Settings().host == "127.0.0.1"
