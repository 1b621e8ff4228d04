"""What only a store in Redis can suffer or do: news, restarts, passwords, failovers, altered keys, files elsewhere."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import redis

from service.ledger import Ledger
from tests.artifacts import image_artifact
from tests.redis_servers.sentinel import Sentinels, sentinels
from tests.redis_servers.server import RedisServer, need_redis
from triggers.artifact.artifact import to_bytes
from triggers.errors import ArtifactCorrupt, ConfigError, StoreError, StoreUnavailable
from triggers.store import redis_keys as keys
from triggers.store.store import Replica, Store, open_store

__all__ = ["sentinels"]
pytestmark = pytest.mark.redis
FIRST, SECOND = image_artifact(), image_artifact(seed=1)


@pytest.fixture
def store(redis_server: RedisServer) -> Iterator[Store]:
    with open_store(redis_server.url) as opened:
        opened.publish(FIRST, actor="a")
        yield opened


def test_a_server_is_reached_through_a_socket_file(tmp_path: Path) -> None:
    socket = tmp_path / "redis.sock"
    command = [need_redis(), "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            deadline = time.monotonic() + 20
            while not socket.exists():
                assert server.poll() is None and time.monotonic() < deadline
                time.sleep(0.02)
            with open_store(f"unix://{socket}") as store:
                assert store.publish(FIRST, actor="a") == 1
            with Ledger(f"unix://{socket}", runs=tmp_path / "runs") as ledger:
                assert ledger.counts("faces", 0, 1) == {}
        finally:
            server.terminate()


def client(server: RedisServer) -> redis.Redis:
    return redis.Redis(port=server.port)


class Woken:
    """Counts how often it was woken."""

    def __init__(self) -> None:
        self.count, self._event = 0, threading.Event()

    def __call__(self) -> None:
        self.count += 1
        self._event.set()

    def within(self, seconds: float) -> bool:
        """Whether it is woken so soon from now on."""
        came = self._event.wait(seconds)
        self._event.clear()
        return came


def test_a_change_wakes_whoever_watches_the_model_at_once(redis_server: RedisServer, store: Store) -> None:
    here, there = Woken(), Woken()
    with open_store(redis_server.url) as other:
        end = other.watch("faces", here)
        assert here.within(5)  # listening has begun
        other.watch("posts", there)
        assert there.within(5)  # and goes on for whoever comes later
        took = []
        for n in range(5):
            started = time.monotonic()
            store.set_rollout("faces", 1 if n % 2 else None, if_revision=n, actor="a", reason="")
            assert here.within(5)
            took.append(time.monotonic() - started)
        assert median(took) < 0.2  # any one may meet a machine that pauses
        store.record_refusal("faces", 1, actor="a", reason="no news")
        assert not here.within(0.2)
        end()
        store.set_rollout("faces", None, if_revision=None, actor="a", reason="")
        assert not here.within(0.2) and there.count == 1


def test_listening_goes_on_after_the_server_was_away(own_redis: RedisServer) -> None:
    woken = Woken()
    with open_store(own_redis.url) as store:
        store.watch("faces", woken)
        assert woken.within(5)
        own_redis.kill()
        with pytest.raises(StoreUnavailable, match="Redis"):
            store.rollout("faces")
        own_redis.start()
        assert woken.within(10)  # it may have missed something
        store.publish(FIRST, actor="a")
        store.set_rollout("faces", 1, if_revision=0, actor="a", reason="")
        assert woken.within(5)


def test_a_server_that_hangs_costs_a_bounded_time(own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("triggers.store.redis_store.OPERATION_SECONDS", 0.3)
    with open_store(own_redis.url) as store:
        own_redis.pause()
        started = time.monotonic()
        with pytest.raises(StoreUnavailable):
            store.rollout("faces")
        assert time.monotonic() - started < 3
        own_redis.resume()
        assert store.rollout("faces").revision == 0


def test_user_and_password_are_used_and_never_told(
    own_redis: RedisServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with client(own_redis) as admin:
        rules: Any = ["~fairtrigger:*", "&fairtrigger:*", "+@all", "-@admin", "-@dangerous", "+info"]
        admin.execute_command("ACL", "SETUSER", "trigger", "on", ">p@ss/word", *rules)
        admin.execute_command("ACL", "SETUSER", "default", "off")
    with (
        caplog.at_level(logging.INFO),
        open_store(f"redis://trigger:p%40ss%2Fword@127.0.0.1:{own_redis.port}/0") as store,
    ):
        woken = Woken()
        store.watch("faces", woken)
        assert woken.within(5)
        store.publish(FIRST, actor="a")
        store.set_rollout("faces", 1, if_revision=0, actor="a", reason="")
        assert woken.within(5) and store.get("faces", 1).digest == FIRST.digest
        assert store.url == f"redis://127.0.0.1:{own_redis.port}/0"
    (tmp_path / "password").write_text("p@ss/word\n")
    with open_store(f"redis://trigger@127.0.0.1:{own_redis.port}/0?password_file={tmp_path / 'password'}") as store:
        assert store.rollout("faces").champion == 1
    with pytest.raises(ConfigError, match=r"password_file of redis://127.*nowhere"):
        open_store(f"redis://trigger@127.0.0.1:{own_redis.port}/0?password_file=/nowhere")
    with pytest.raises(StoreUnavailable) as told:
        open_store(f"redis://trigger:wrong-secret@127.0.0.1:{own_redis.port}/0")
    assert "wrong-secret" not in str(told.value) + caplog.text and "p%40ss" not in caplog.text


@pytest.mark.slow
def test_behind_sentinels_a_failover_is_followed(sentinels: Sentinels) -> None:
    with open_store(sentinels.url) as store:
        store.publish(FIRST, actor="a")
        store.set_rollout("faces", 1, if_revision=0, actor="a", reason="")
        sentinels.fail_over()
        deadline = time.monotonic() + 60
        while True:
            try:
                store.set_rollout("faces", None, if_revision=1, actor="a", reason="after")
                break
            except StoreUnavailable:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        assert store.verify_history("faces") == 3 and store.get("faces", 1).digest == FIRST.digest


def test_a_server_that_may_forget_is_warned_of(redis_server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    with client(redis_server) as admin:
        admin.config_set("maxmemory-policy", "allkeys-lru")
        with caplog.at_level(logging.WARNING):
            open_store(redis_server.url).close()
        admin.config_set("maxmemory-policy", "noeviction")
    assert "noeviction" in caplog.text and "appendonly yes" in caplog.text


def test_publishing_reads_no_other_version(redis_server: RedisServer, store: Store) -> None:
    for seed in range(3):
        assert store.publish(image_artifact(seed=seed), actor="ann") == seed + 1
    with client(redis_server) as keeper:
        first = keeper.lindex(keys.versions_key("faces"), 0)
        keeper.lset(keys.versions_key("faces"), 0, "unreadable")
        assert store.publish(image_artifact(seed=3), actor="ann") == 4
        assert store.publish(image_artifact(seed=2), actor="ann") == 3
        keeper.lset(keys.versions_key("faces"), 0, first)


@pytest.mark.parametrize("lies", [False, True])
def test_the_index_of_digests_is_made_from_the_versions_where_it_lacks_some_or_lies(
    redis_server: RedisServer, store: Store, lies: bool
) -> None:
    for seed in range(3):
        store.publish(image_artifact(seed=seed), actor="ann")
    digests = [info.digest for info in store.versions("faces")]
    with client(redis_server) as keeper:
        keeper.delete(keys.digests("faces"))
        if lies:
            keeper.hset(keys.digests("faces"), mapping={digests[0]: 2, digests[1]: 1, digests[2]: 3})
    for seed in range(3):
        assert store.publish(image_artifact(seed=seed), actor="ann") == seed + 1
    assert store.publish(image_artifact(seed=3), actor="ann") == 4
    assert store.verify_history("faces") == 4


def test_altered_keys_are_noticed(redis_server: RedisServer, store: Store) -> None:
    store.set_rollout("faces", 1, if_revision=0, actor="a", reason="")
    with client(redis_server) as admin:
        file = admin.keys("fairtrigger:{faces}:artifact:*")[0]
        admin.setrange(file, 2000, b"!!!!")
        with pytest.raises(ArtifactCorrupt, match="was altered"):
            store.get("faces", 1)
        admin.delete(file)
        with pytest.raises(ArtifactCorrupt, match="missing"):
            store.get_bytes("faces", 1)
        good = admin.lindex(keys.history_key("faces"), 0)
        admin.lset(keys.history_key("faces"), 0, good.replace(b'"a"', b'"b"'))
        with pytest.raises(StoreError, match="entry 1 was altered"):
            store.verify_history("faces")
        admin.lset(keys.history_key("faces"), 0, b"{")
        with pytest.raises(StoreError, match="cannot be read"):
            store.history("faces")
        admin.lset(keys.history_key("faces"), 0, good)
        assert store.verify_history("faces") == 2
        admin.rpop(keys.history_key("faces"))
        with pytest.raises(StoreError, match="its history says"):
            store.verify_history("faces")
        admin.set(keys.rollout_key("faces"), "[]")
        with pytest.raises(StoreError, match="cannot be read"):
            store.rollout("faces")


def test_keys_of_a_model_share_a_slot_and_are_all_listed(redis_server: RedisServer, store: Store) -> None:
    store.set_rollout("faces", 1, if_revision=0, actor="a", reason="")
    store.report("faces", Replica("r", 1), ttl_seconds=60)
    with client(redis_server) as admin:
        found = {key.decode() for key in admin.keys("*")}
    hashed = {key for key in found if key.startswith("fairtrigger:{faces}:artifact:")}
    assert len(hashed) == 1
    assert found - hashed == {
        keys.MODELS, keys.history_key("faces"), keys.versions_key("faces"), keys.digests("faces"),
        keys.rollout_key("faces"),
        keys.replicas_key("faces"),
    }  # fmt: skip


@pytest.mark.parametrize(
    "url",
    [
        "redis+tls://x",
        "redis+sentinel://127.0.0.1:1",
        "redis+cluster://a:b:c",
        "redis://127.0.0.1/0?artifacts=nowhere",
        "redis://127.0.0.1/0?artifacts=ftpx://a/b",
    ],
)
def test_an_address_that_cannot_be_used(url: str) -> None:
    with pytest.raises(ConfigError):
        open_store(url)


@pytest.mark.process
@pytest.mark.parametrize("missing", ["redis", "fsspec"])
def test_without_the_extra_it_is_named(missing: str) -> None:
    code = f"""
import sys
sys.modules[{missing!r}] = None
from triggers.store.store import open_store
open_store("redis://127.0.0.1/0?artifacts=s3://bucket/x")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    extra = {"redis": "redis", "fsspec": "cloud"}[missing]
    assert "ConfigError" in done.stderr and f"fairtrigger[{extra}]" in done.stderr


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """A bucket of a real S3 server in this process; credentials and endpoint are in the environment."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    facts = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    before = {name: os.environ.get(name) for name in facts}
    os.environ.update(facts)
    boto3.client("s3").create_bucket(Bucket="triggers")
    yield "s3://triggers/production"
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})
    server.stop()


def test_artifacts_lie_in_s3_under_their_hash(redis_server: RedisServer, bucket: str) -> None:
    import boto3

    url = f"{redis_server.url}?artifacts={bucket}"
    with open_store(url) as store:
        assert [store.publish(each, actor="a") for each in (FIRST, SECOND, FIRST)] == [1, 2, 1]
        info = store.version("faces", 1)
    path = f"production/faces/{info.file_sha256.removeprefix('sha256:')}.safetensors"
    s3 = boto3.client("s3")
    assert s3.get_object(Bucket="triggers", Key=path)["Body"].read() == to_bytes(FIRST)
    with client(redis_server) as admin:
        assert not admin.keys("*artifact*")
    with open_store(url) as again:
        assert (again.get("faces", 1).digest, again.get_bytes("faces", 2)) == (FIRST.digest, to_bytes(SECOND))
        s3.put_object(Bucket="triggers", Key=path, Body=to_bytes(SECOND))
        with pytest.raises(ArtifactCorrupt, match="was altered"):
            again.get("faces", 1)
        s3.delete_object(Bucket="triggers", Key=path)
        with pytest.raises(ArtifactCorrupt, match="missing"):
            again.get("faces", 1)
        assert again.get("faces", 2).digest == SECOND.digest


def test_an_object_store_that_is_away_is_no_corruption(redis_server: RedisServer, bucket: str) -> None:
    with open_store(f"{redis_server.url}?artifacts=s3://no-such-bucket/x") as store:
        with pytest.raises(StoreUnavailable, match="s3://no-such-bucket"):
            store.publish(FIRST, actor="a")
        assert (store.versions("faces"), store.models()) == ([], [])
