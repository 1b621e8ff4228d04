"""Keys are printed once and kept as hashes; a file that is wrong is refused with its reason."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fairtrigger.cli.main import app
from triggers.api_keys import key_digest, load_keys, new_api_key
from triggers.errors import ConfigError

HASH = "blake2b:" + "0" * 64


@pytest.mark.parametrize("suffix", ["toml", "json"])
def test_new_prints_the_key_once_and_the_file_holds_its_hash(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"keys.{suffix}"
    words = ["keys", "new", "shop", "--role", "predict", "--role", "feedback", "--expires", "90d", "--rate", "5"]
    keys = []
    for _ in range(2):
        result = CliRunner().invoke(app, [*words, "--file", str(path)])
        assert result.exit_code == 0, result.output
        keys.append(result.stdout.strip())
    assert path.stat().st_mode & 0o777 == 0o600
    found = load_keys(path)
    assert [each.digest for each in found.values()] == [key_digest(key) for key in keys]
    entry = next(iter(found.values()))
    assert entry.roles == {"predict", "feedback"} and entry.rate == 5 and entry.expires
    assert timedelta(days=89) < entry.expires - datetime.now(UTC) <= timedelta(days=90)
    for key in keys:
        assert re.fullmatch(r"ft_shop-[0-9a-f]{6}_[A-Za-z0-9_-]{43}", key)
        assert key not in path.read_text() and key.split("_", 2)[2] not in path.read_text()
    listing = CliRunner().invoke(app, ["keys", "list", "--file", str(path)]).stdout
    assert listing.count("feedback,predict  until") == 2 and "blake2b" not in listing
    as_json = json.loads(CliRunner().invoke(app, ["keys", "list", "--file", str(path), "--json"]).stdout)
    assert set(as_json) == set(found) and "hash" not in as_json[next(iter(found))]


def test_hand_written_comments_stay(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    path.write_text(f'# ours\n[keys.old]\nhash = "{HASH}"\nroles = ["admin"]')
    assert CliRunner().invoke(app, ["keys", "new", "--role", "admin", "--file", str(path)]).exit_code == 0
    assert path.read_text().startswith("# ours") and len(load_keys(path)) == 2


@pytest.mark.parametrize(
    "text, said",
    [
        ("[keys", "no toml"),
        ('[keys.a]\nhash = "secret"\nroles = ["predict"]', r"keys\.a\.hash"),
        (f'[keys.a]\nhash = "{HASH}"\nroles = ["root"]', r"keys\.a\.roles"),
        (f'[keys.a]\nhash = "{HASH}"\nroles = []', r"keys\.a\.roles"),
        (f'[keys.a]\nhash = "{HASH}"\nroles = ["predict"]\nexpires = 2027-01-01', r"keys\.a\.expires"),
        (f'[keys.a]\nhash = "{HASH}"\nroles = ["predict"]\nrole = 1', r"keys\.a\.role"),
        (f'[keys.a]\nhash = "{HASH}"\nroles = ["predict"]\n[keys.b]\nhash = "{HASH}"\nroles = ["admin"]', "twice"),
    ],
)
def test_wrong_files(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "keys.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said) as refused:
        load_keys(path)
    assert "secret" not in str(refused.value)


def test_a_file_that_everybody_may_write_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    path.write_text("")
    path.chmod(0o666)
    with pytest.raises(ConfigError, match="chmod o-w"):
        load_keys(path)


def test_a_name_that_is_no_id_is_refused() -> None:
    with pytest.raises(ConfigError, match="should match pattern"):
        new_api_key("Shop!", frozenset({"predict"}))
