"""What only a ledger in Redis can suffer: other machines that fall silent, a server that is away or misconfigured."""

from __future__ import annotations

import json
import logging
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from pydantic import ValidationError

from service.ledger.backend import Release
from service.ledger.ledger import Ledger
from service.ledger.redis_ledger import LEASE_SECONDS, RUNS
from tests.redis_servers.server import RedisServer
from tests.service.counted import NEVER, everything, prediction
from tests.service.live import settings
from triggers.errors import ConfigError, StoreUnavailable

pytestmark = pytest.mark.redis


def machine(server: RedisServer, folder: Path, clock: Callable[[], float]) -> Ledger:
    """A replica on a machine of its own: it sees no other's folder."""
    return Ledger(server.url, runs=folder, flush_interval=NEVER, busy_seconds=1.0, clock=clock)


def silence(server: RedisServer, ledger: Ledger, seconds: float) -> None:
    """The server heard of a replica for the last time so long ago."""
    import redis

    with redis.Redis(port=server.port, decode_responses=True) as client:
        state = json.loads(str(client.hget(RUNS, ledger._run)))
        client.hset(RUNS, ledger._run, json.dumps(state | {"seen": state["seen"] - seconds}))


def test_a_machine_whose_clock_is_off_is_not_taken_for_dead(redis_server: RedisServer, tmp_path: Path) -> None:
    now = time.time()
    offsets = {"right": 0.0, "slow": -200.0, "slower": -86400.0, "fast": 86400.0}
    ledgers = {
        name: Ledger(redis_server.url, runs=tmp_path / name, flush_interval=1.0, clock=partial(float.__add__, now, off))
        for name, off in offsets.items()
    }
    for ledger in ledgers.values():
        ledger.record(prediction())
        ledger.flush()
    for ledger in ledgers.values():
        ledger._refresh()
        assert ledger.possible_loss(0, 2**40) == []
    for ledger in ledgers.values():
        ledger.close()


def test_a_machine_that_fell_silent_is_told(redis_server: RedisServer, tmp_path: Path) -> None:
    now = 10_000.0
    alive, silent = (machine(redis_server, tmp_path / name, lambda: now) for name in ("alive", "silent"))
    silent.record(prediction())
    silent.flush()
    silence(redis_server, silent, LEASE_SECONDS + NEVER - 60)
    alive._refresh()
    assert alive.possible_loss(0, 2**40) == []
    silence(redis_server, silent, 60)
    alive._refresh()
    (told,) = alive.possible_loss(0, 2**40)
    assert (told.reason, told.since) == ("killed", 10_000.0)
    silent._refresh()  # it was only cut off, and counts on
    assert alive.possible_loss(0, 2**40) == []
    silent.record(prediction())
    silent.flush()
    assert everything(alive) == {(1, "a", None, 1, None): 2}
    silent.close()
    alive.close()


def test_a_batch_of_a_replica_that_was_taken_for_dead_still_counts_once(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    now = 10_000.0
    alive, silent = (machine(redis_server, tmp_path / name, lambda: now) for name in ("alive", "silent"))
    silent.record(prediction())
    batch = silent._next_batch()
    assert batch
    silent._store.apply(silent._run, batch)  # its answer is lost
    silence(redis_server, silent, 10 * LEASE_SECONDS + NEVER)
    alive._refresh()
    silent.flush()
    assert everything(alive) == {(1, "a", None, 1, None): 1}
    silent.close()
    alive.close()


def test_a_server_that_is_away_at_the_start_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(StoreUnavailable, match="Redis"):
        Ledger(f"redis://127.0.0.1:{port}/0", runs=tmp_path / "runs", busy_seconds=0.5)


def test_an_eviction_policy_is_warned_of(
    redis_server: RedisServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import redis

    with redis.Redis(port=redis_server.port) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        with caplog.at_level(logging.WARNING):
            machine(redis_server, tmp_path, lambda: 0.0).close()
        client.config_set("maxmemory-policy", "noeviction")
    assert "noeviction" in caplog.text


def test_keys_of_a_model_lie_in_one_slot(redis_server: RedisServer, tmp_path: Path) -> None:
    import redis

    with machine(redis_server, tmp_path, lambda: 0.0) as ledger:
        ledger.record(prediction())
        ledger.flush()
        with redis.Redis(port=redis_server.port, decode_responses=True) as client:
            keys = [str(key) for key in client.keys("fairtrigger:{*")]
            assert len(keys) >= 4 and all(key.startswith("fairtrigger:{m}:") for key in keys)
            assert 0 < client.ttl(next(key for key in keys if ":m:" in key)) <= 9 * 86400


def test_reading_what_was_disclosed_takes_no_longer_after_years(redis_server: RedisServer, tmp_path: Path) -> None:
    import redis

    with (
        machine(redis_server, tmp_path, lambda: 0.0) as ledger,
        redis.Redis(port=redis_server.port, decode_responses=True) as client,
    ):
        sent = []
        for hour in range(24 * 40):
            ledger.release("m", 60, 60 * hour, Release(1, "x" * 200))
            if hour in (47, 24 * 40 - 1):
                before = int(client.info("stats")["total_net_output_bytes"])
                assert len(ledger.releases("m", 60, 60 * hour, 60 * hour + 60)) == 1
                sent.append(int(client.info("stats")["total_net_output_bytes"]) - before)
        assert sent[1] < 1.5 * sent[0] < 30_000
        keys = [str(key) for key in client.keys("fairtrigger:{m}:told:*")]
        assert len(keys) == 40 and all(0 < client.ttl(key) <= 401 * 86400 for key in keys)


def test_what_an_earlier_version_disclosed_is_taken_over(redis_server: RedisServer, tmp_path: Path) -> None:
    import redis

    with (
        machine(redis_server, tmp_path, lambda: 0.0) as ledger,
        redis.Redis(port=redis_server.port, decode_responses=True) as client,
    ):
        old = {minute: f"{minute // 60 + 1}|text|{minute}" for minute in range(0, 3 * 1440, 60)}
        client.hset("fairtrigger:{m}:released:60", mapping=old)
        found = ledger.releases("m", 60, 60, 2 * 1440)
        assert found[60] == Release(2, "text|60") and sorted(found) == list(range(60, 2 * 1440, 60))
        assert not client.exists("fairtrigger:{m}:released:60")
        assert not ledger.release("m", 60, 60, Release(1, "again"))


@pytest.mark.parametrize("address", ["postgres://x/y", "redis://127.0.0.1/0"])
def test_an_address_that_cannot_be_used(address: str) -> None:
    with pytest.raises(ConfigError):
        Ledger(address)


def test_replicas_need_the_same_receipt_keys(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="receipt_keys"):
        settings(tmp_path, ledger="redis://127.0.0.1/0")


def test_without_the_extra_it_is_named(tmp_path: Path) -> None:
    code = """
import sys
sys.modules["redis"] = None
from service.ledger.ledger import Ledger
from pathlib import Path
Ledger("redis://127.0.0.1/0", runs=Path(sys.argv[1]))
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert "ConfigError" in done.stderr and "fairtrigger[redis]" in done.stderr
