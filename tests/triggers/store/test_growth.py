"""Nothing done often reads more where there are more versions: counted in steps of SQLite and bytes of Redis."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import pytest
import redis

from tests.artifacts import image_artifact
from tests.redis_servers.server import RedisServer
from triggers.errors import NotFound
from triggers.fingerprint import json_digest
from triggers.rollout.rollout_history import HistoryEntry, deciding_entry, next_entry
from triggers.store import redis_keys as keys
from triggers.store import redis_records as records
from triggers.store.file_store import FileStore
from triggers.store.redis_store import RedisStore
from triggers.store.sqlite_index import insert_entry, insert_version
from triggers.store.store import Store, VersionInfo

FEW, MANY = 20, 600
MORE = 1.6
"""Most steps or bytes at MANY versions over those at FEW; a walk through all of them is 30 times as much."""
STEPS = 10
"""Steps of SQLite's machine between two calls of a progress handler."""


def grown(store: Store, count: int, add: Callable[[list[VersionInfo]], None]) -> None:
    """Decide v1, then write so many more versions and their entries straight into the store."""
    store.publish(image_artifact(), actor="a")
    store.set_rollout("faces", 1, if_revision=0, actor="a", reason="")
    first = store.version("faces", 1)
    add([replace(first, version=n, digest=json_digest(n)) for n in range(2, count + 1)])


def into_file(store: FileStore, infos: list[VersionInfo]) -> None:
    with store._index.write() as db:
        entry = store_head(store)
        for info in infos:
            insert_version(db, info)
            store.path_of(info).touch()
            entry = next_entry(entry, replace(entry, action="publish", to_version=info.version, detail={}))
            insert_entry(db, entry)


def into_redis(store: RedisStore, infos: list[VersionInfo]) -> None:
    entry, pipeline = store_head(store), store._redis.pipeline()
    for info in infos:
        entry = next_entry(entry, replace(entry, action="publish", to_version=info.version, detail={}))
        pipeline.rpush(keys.versions_key("faces"), records.write_version(info))
        pipeline.hset(keys.digests("faces"), info.digest, info.version)
        pipeline.rpush(keys.history_key("faces"), records.write_entry(entry))
    pipeline.execute()


def store_head(store: Store) -> HistoryEntry:
    return store.history("faces", 1)[0]


def steps(store: FileStore, call: Callable[[], object]) -> int:
    """How far SQLite's machine runs for a call, in units of STEPS."""
    found = [0]

    def count() -> int:
        found[0] += 1
        return 0

    connections: list[sqlite3.Connection] = store._index._connections
    for each in connections:
        each.set_progress_handler(count, STEPS)
    call()
    for each in connections:
        each.set_progress_handler(None, STEPS)
    return found[0]


def bytes_read(server: RedisServer, call: Callable[[], object]) -> int:
    """Bytes that a server sends for a call."""
    with redis.Redis(port=server.port) as client:
        before: int = client.info("stats")["total_net_output_bytes"]
        call()
        after: int = client.info("stats")["total_net_output_bytes"]
        return after - before


def missing(store: Store, version: int) -> None:
    with pytest.raises(NotFound, match="has no trigger"):
        store.version("faces", version)


def decision(store: Store) -> None:
    entry = deciding_entry(store_head(store), partial(store.entry, "faces"))
    assert entry and (entry.seq, entry.action, entry.to_version) == (2, "activate", 1)


CALLS: dict[str, Callable[[Store, int], object]] = {
    "publish": lambda store, n: store.publish(image_artifact(seed=n), actor="a"),
    "publish again": lambda store, n: store.publish(image_artifact(seed=n), actor="a"),
    "activate": lambda store, n: store.set_rollout("faces", 1, if_revision=None, actor="a", reason=""),
    "models": lambda store, n: store.models(),
    "rollout": lambda store, n: store.rollout("faces"),
    "one version": lambda store, n: store.version("faces", n),
    "no version": lambda store, n: missing(store, n + 2),
    "latest versions": lambda store, n: store.versions("faces", 5),
    "versions before": lambda store, n: store.versions("faces", 5, n // 2),
    "latest entries": lambda store, n: store.history("faces", 5),
    "an entry": lambda store, n: store.entry("faces", n // 2),
    "get": lambda store, n: store.get("faces", 1),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, FileStore]]:
    stores = {}
    for count in (FEW, MANY):
        stores[count] = FileStore(tmp_path_factory.mktemp("store"))
        grown(stores[count], count, partial(into_file, stores[count]))
    yield stores
    for store in stores.values():
        store.close()


@pytest.mark.parametrize("name", CALLS)
def test_a_file_reads_the_same_at_any_number_of_versions(files: dict[int, FileStore], name: str) -> None:
    few, many = (steps(store, partial(CALLS[name], store, n)) for n, store in files.items())
    assert many <= MORE * few + 3


def test_the_last_decision_is_found_among_any_number_of_entries(files: dict[int, FileStore]) -> None:
    with FileStore(files[MANY].folder) as fresh, FileStore(files[FEW].folder) as small:
        for store in (fresh, small):
            store.set_rollout("faces", None, if_revision=None, actor="a", reason="")
            store.publish(image_artifact(seed=MANY + 7), actor="a")
            head = store_head(store)
            asked = list[int]()

            def entry_at(seq: int, store: FileStore = store, asked: list[int] = asked) -> HistoryEntry:
                asked.append(seq)
                return store.entry("faces", seq)

            found = deciding_entry(head, entry_at)
            assert found and found.action == "activate" and found.to_version is None
            assert len(asked) <= head.seq.bit_length() + 1


def test_the_first_publish_of_a_process_reads_no_manifests(files: dict[int, FileStore]) -> None:
    """It removes what killed ones left: by the names of files, and the one version that two files claim to be."""
    few, many = (FileStore(store.folder) for store in files.values())
    with few, many:
        folder = many.folder / "artifacts" / "faces"
        left = [folder / f"v{MANY // 2}-{'0' * 12}.safetensors", folder / f"v{MANY + 50}-{'1' * 12}.safetensors"]
        for path in left:
            path.touch()
        kept = set(folder.iterdir()) - set(left)
        newer = image_artifact(seed=MANY + 9)
        counts = [steps(store, partial(store.publish, newer, actor="a")) for store in (few, many)]
        assert counts[1] <= MORE * counts[0] + 10
        assert kept < set(folder.iterdir()) and not any(path.exists() for path in left)


@pytest.mark.redis
def test_redis_sends_the_same_at_any_number_of_versions(redis_server: RedisServer) -> None:
    found: dict[int, dict[str, int]] = {}
    for count in (FEW, MANY):
        redis_server.clear()
        with RedisStore(redis_server.url) as store:
            grown(store, count, partial(into_redis, store))
            decision(store)
            found[count] = {name: bytes_read(redis_server, partial(call, store, count)) for name, call in CALLS.items()}
    for name in CALLS:
        assert found[MANY][name] <= MORE * found[FEW][name] + 500, name
