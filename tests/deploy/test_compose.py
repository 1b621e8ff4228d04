"""docker-compose.yml: hardened, with time to drain, secrets as files, settings that exist."""

from __future__ import annotations

import re
import stat
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from service.config.settings import Settings
from service.ledger.backend import Release
from service.ledger.events import Feedback
from service.ledger.ledger import Ledger
from service.ledger.time_buckets import Level
from tests.artifacts import image_artifact
from tests.deploy.environment import ROOT
from tests.deploy.files import read
from tests.deploy.test_manifests import assert_setting
from tests.redis_servers.server import RedisServer
from tests.service.counted import everything, prediction
from tests.service.live import wait_until
from triggers.api_keys import key_digest, load_keys
from triggers.errors import StoreUnavailable
from triggers.store.store import Replica, open_store

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


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """Secrets as deploy/make-secrets makes them."""
    subprocess.run([str(ROOT / "deploy/make-secrets"), str(tmp_path / "secrets")], check=True, capture_output=True)
    return tmp_path / "secrets"


@pytest.fixture
def guarded(own_redis: RedisServer, secrets: Path) -> Callable[[str], str]:
    """A Redis with the users that were made; gives the address of one of them."""
    with redis.Redis(port=own_redis.port) as admin:
        for line in reversed((secrets / "redis_users").read_text().splitlines()):  # the default one goes last
            name, *rules = line.split()[1:]
            admin.execute_command("ACL", "SETUSER", name, "reset", *rules)
    example = (ROOT / ".env.example").read_text() + (ROOT / "docker-compose.yml").read_text()
    addresses = dict(re.findall(r"redis://(\w+)(@redis:6379/0\?password_file=\S+?)[\s}]", example))

    def address(user: str) -> str:
        here = f"redis://{user}{addresses[user]}".replace("/run/secrets", str(secrets))
        return here.replace("redis:6379", f"127.0.0.1:{own_redis.port}")

    return address


@pytest.mark.redis
def test_the_service_and_a_trainer_may_do_what_they_do_and_no_more(
    guarded: Callable[[str], str], own_redis: RedisServer, tmp_path: Path
) -> None:
    with open_store(guarded("trainer")) as store:
        assert [store.publish(image_artifact(seed=seed), actor="trainer") for seed in (0, 1, 0)] == [1, 2, 1]
        assert store.rollout("faces").revision == 0
        with pytest.raises(StoreUnavailable, match="permissions"):
            store.set_rollout("faces", 1, if_revision=0, actor="trainer", reason="")
        with pytest.raises(StoreUnavailable, match="permissions"):
            store.report("faces", Replica("trainer", 1), ttl_seconds=60)
    with pytest.raises(StoreUnavailable, match="permissions"):
        Ledger(guarded("trainer"), runs=tmp_path / "trainer")
    with open_store(guarded("service")) as store, Ledger(guarded("service"), runs=tmp_path / "runs") as ledger:
        woken = threading.Event()
        end = store.watch("faces", woken.set)
        store.set_rollout("faces", 1, if_revision=0, actor="ann", reason="")
        assert woken.wait(10)
        end()
        store.report("faces", Replica("service", 1), ttl_seconds=60)
        assert len(store.replicas("faces")) == 1 and store.get("faces", 1) and store.verify_history("faces") == 3
        event = prediction()
        ledger.record(event)
        ledger.feedback([Feedback(event, 1)])
        assert everything(ledger) == {(1, "a", 1, 1, None): 1}
        ledger.release("m", 60, 0, Release(1, "told"))
        assert ledger.releases("m", 60, 0, 60)
        ledger.series("m", Level.ARRIVAL, 0, 2**31)
    with redis.Redis(port=own_redis.port, username="health", password="any") as health:
        assert health.ping()
        with pytest.raises(redis.exceptions.NoPermissionError):
            health.get("fairtrigger:models")
    with redis.Redis(port=own_redis.port) as stranger, pytest.raises(redis.exceptions.AuthenticationError):
        stranger.ping()


@pytest.mark.redis
def test_the_users_file_is_one_that_redis_starts_with(secrets: Path, tmp_path: Path) -> None:
    command = ["redis-server", "--port", "0", "--unixsocket", str(tmp_path / "socket"), "--dir", str(tmp_path)]
    with subprocess.Popen([*command, "--aclfile", str(secrets / "redis_users")], stdout=subprocess.PIPE) as server:
        try:
            wait_until((tmp_path / "socket").exists)
            ask = [
                "redis-cli",
                "-s",
                str(tmp_path / "socket"),
                "--no-auth-warning",
                "--user",
                "health",
                "--pass",
                "any",
            ]
            assert "PONG" in subprocess.run([*ask, "ping"], capture_output=True, text=True, check=True).stdout
        finally:
            server.kill()


def test_every_request_needs_a_key_that_was_made(secrets: Path) -> None:
    entries = load_keys(secrets / "api_keys.toml")
    roles = {entry.digest: entry.roles for entry in entries.values()}
    assert roles[key_digest((secrets / "client_key").read_text())] == {"predict", "feedback"}
    assert roles[key_digest((secrets / "metrics_key").read_text())] == {"statistics"}
    assert SERVICES["service"]["environment"]["FAIRTRIGGER_API_KEYS"].endswith("/run/secrets/api_keys.toml}")
    assert "api_keys.toml" in SERVICES["service"]["secrets"] and "metrics_key" in SERVICES["prometheus"]["secrets"]
    scrape = read("deploy/watch/prometheus.yml")["scrape_configs"][0]
    assert scrape["authorization"] == {"credentials_file": "/run/secrets/metrics_key"}


def test_no_two_services_share_a_password_of_redis() -> None:
    given = [name for service in SERVICES.values() for name in service.get("secrets", []) if "redis" in name]
    assert len(given) == len(set(given)) == 3


def test_images_of_others_are_pinned_by_a_step(tmp_path: Path) -> None:
    docker = tmp_path / "docker"
    docker.write_text(f"#!/bin/sh\necho sha256:{'0' * 64}\n")
    docker.chmod(0o755)
    path = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run([str(ROOT / "deploy/pin-images")], capture_output=True, text=True, check=True, env=path)
    lines = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert set(lines) == {"BASE", "REDIS_IMAGE", "PROMETHEUS_IMAGE", "GRAFANA_IMAGE"}
    assert all(re.fullmatch(r"[\w./:-]+@sha256:0{64}", image) for image in lines.values())
