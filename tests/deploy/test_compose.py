"""docker-compose.yml: hardened, with time to drain, secrets as files, settings that exist."""

from __future__ import annotations

import re
import stat
import subprocess
from pathlib import Path

import pytest
import redis

from service.settings import Settings
from tests.deploy.files import ROOT, read
from tests.deploy.test_manifests import assert_setting
from tests.redis_server import RedisServer
from triggers.store import open_store

COMPOSE = read("docker-compose.yml")
SERVICES = COMPOSE["services"]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_hardened(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] and service["cap_drop"] == ["ALL"] and service["init"]
    assert service["mem_limit"] and not service["image"].endswith(":latest")
    assert all(str(port).startswith(("127.0.0.1:", "${SERVICE_PORTS:-127.0.0.1:")) for port in service.get("ports", []))


def test_there_is_time_to_drain() -> None:
    default = Settings.model_fields["drain_seconds"].default + Settings.model_fields["grace_seconds"].default
    assert int(SERVICES["service"]["stop_grace_period"].removesuffix("s")) >= default + 5


def test_settings_exist() -> None:
    for variable in SERVICES["service"]["environment"]:
        assert_setting(variable)


def test_example_names_what_compose_reads() -> None:
    read_by_compose = set(re.findall(r"\$\{(\w+)", (ROOT / "docker-compose.yml").read_text()))
    named = set(re.findall(r"^#?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert named <= read_by_compose


def test_secrets_are_made_once_and_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "secrets"
    command = [str(ROOT / "deploy/make-secrets"), str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    made = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert set(made) == set(COMPOSE["secrets"])
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    again = subprocess.run(command, check=True, capture_output=True)
    assert (again.stdout, again.stderr) == (b"", b"")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == made
    for name in ("admin_token", "receipt_keys"):
        monkeypatch.setenv(f"FAIRTRIGGER_{name.upper()}_FILE", str(folder / name))
    settings = Settings()
    assert settings.receipt_keys and settings.admin_token


@pytest.mark.redis
def test_store_and_counts_use_the_password_that_was_made(tmp_path: Path, own_redis: RedisServer) -> None:
    subprocess.run([str(ROOT / "deploy/make-secrets"), str(tmp_path / "secrets")], check=True, capture_output=True)
    password = (tmp_path / "secrets/redis_password").read_text()
    with redis.Redis(port=own_redis.port) as admin:
        admin.config_set("requirepass", password)
    named = re.search(r"FAIRTRIGGER_STORE=(redis\S+)", (ROOT / ".env.example").read_text())
    service, trainer = SERVICES["service"], SERVICES["trainer"]
    ledger = re.search(r":-(.*)\}", service["environment"]["FAIRTRIGGER_LEDGER"])
    assert named and ledger and named[1] == ledger[1]
    assert trainer["environment"]["FAIRTRIGGER_STORE"] == service["environment"]["FAIRTRIGGER_STORE"]
    assert "redis_password" in trainer["secrets"] and "redis_password" in service["secrets"]
    here = named[1].replace("/run/secrets", str(tmp_path / "secrets"))
    with open_store(here.replace("redis:6379", f"127.0.0.1:{own_redis.port}")) as store:
        assert store.models() == []
