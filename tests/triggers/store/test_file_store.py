"""What only the embedded store can get wrong: files, permissions, killed processes, tampering."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.artifacts import image_artifact
from triggers.artifact.artifact import MAX_ARTIFACT_BYTES, save_artifact, to_bytes
from triggers.errors import ArtifactCorrupt, ConfigError, NotFound, StoreError, StoreUnavailable
from triggers.rollout.rollout_plan import Challenger, RolloutPlan
from triggers.storage.atomic_files import TEMP_PREFIX
from triggers.store.artifact_integrity import file_digest
from triggers.store.file_store import ABANDONED_SECONDS, FileStore
from triggers.store.sqlite_index import INDEX_SCHEMA_VERSION
from triggers.store.store import open_store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FileStore]:
    """Two versions, the first one serving."""
    with FileStore(tmp_path / "store") as opened:
        opened.publish(image_artifact(seed=1), actor="ann")
        opened.publish(image_artifact(seed=2), actor="ann")
        opened.set_rollout("faces", 1, if_revision=None, actor="ann", reason="")
        yield opened


def artifact_files(store: FileStore) -> list[str]:
    return sorted(path.name for path in (store.folder / "artifacts" / "faces").iterdir())


def test_files_are_named_by_version_and_digest(store: FileStore) -> None:
    names = [f"v{info.version}-{info.digest[7:19]}.safetensors" for info in store.versions("faces")]
    assert artifact_files(store) == names


def test_everything_is_private(store: FileStore) -> None:
    paths = [store.folder, *store.folder.rglob("*")]
    assert len(paths) >= 6
    for path in paths:
        wanted = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path


def test_an_existing_folder_keeps_its_permissions(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    FileStore(tmp_path).close()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_an_altered_file_is_corrupt(store: FileStore) -> None:
    path = store.path_of(store.version("faces", 1))
    sound = path.read_bytes()
    for data in (sound[:-1], sound[:-1] + b"!", b"", sound.replace(b"2026-01-02", b"2026-01-03")):
        path.write_bytes(data)
        for read in (store.get, store.get_bytes):
            with pytest.raises(ArtifactCorrupt, match="faces v1 was altered"):
                read("faces", 1)
    path.unlink()
    with pytest.raises(ArtifactCorrupt, match="faces v1 cannot be read"):
        store.get("faces", 1)
    assert store.get("faces", 2)


def test_a_file_swapped_for_a_sound_one_is_corrupt(store: FileStore) -> None:
    path = store.path_of(store.version("faces", 1))
    path.write_bytes(to_bytes(image_artifact(seed=9)))
    with pytest.raises(ArtifactCorrupt, match="was altered"):
        store.get("faces", 1)


def tamper(store: FileStore, statement: str) -> None:
    connection = sqlite3.connect(store.folder / "index.sqlite")
    with connection:
        assert connection.execute(statement).rowcount > 0
    connection.close()


TAMPERING = {
    "history edited": "UPDATE history SET entry = replace(entry, 'ann', 'bob') WHERE seq = 2",
    "history unreadable": "UPDATE history SET entry = '{}' WHERE seq = 2",
    "history no JSON": "UPDATE history SET entry = 'x' WHERE seq = 2",
    "history hole": "DELETE FROM history WHERE seq = 2",
    "history end cut off": "DELETE FROM history WHERE seq = 3",
    "history gone": "DELETE FROM history",
    "rollout edited": "UPDATE rollouts SET champion = 2",
    "rollout gone": "DELETE FROM rollouts",
    "version gone": "DELETE FROM versions WHERE version = 2",
    "digest edited": "UPDATE versions SET digest = 'sha256:0' WHERE version = 2",
    "manifest unreadable": "UPDATE versions SET manifest = '{}' WHERE version = 2",
}


@pytest.mark.parametrize("case", TAMPERING)
def test_tampering_with_the_index_is_found(store: FileStore, case: str) -> None:
    assert store.verify_history("faces") == 3
    tamper(store, TAMPERING[case])
    with pytest.raises(StoreError):
        store.verify_history("faces")


def test_a_manifest_edited_in_the_index_is_found_on_reading(store: FileStore) -> None:
    tamper(store, """UPDATE versions SET manifest = replace(manifest, '"seed":2', '"seed":3') WHERE version = 2""")
    with pytest.raises(ArtifactCorrupt, match="faces v2 is not the one in the index"):
        store.get("faces", 2)


def run_workers(folder: Path, *jobs: list[str]) -> list[int]:
    """Start one process per list of words, let them all begin at the same moment, and return how they ended."""
    pipe = subprocess.PIPE
    words = [sys.executable, "-m", "tests.triggers.store.store_worker", str(folder)]
    workers = [subprocess.Popen([*words, *job], stdin=pipe, stdout=pipe, text=True) for job in jobs]
    for worker in workers:
        assert worker.stdout
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin
        worker.stdin.write("go\n")
        worker.stdin.flush()
    for worker in workers:
        worker.communicate()
    return [worker.returncode for worker in workers]


def artifact_file(folder: Path, seed: int) -> str:
    save_artifact(image_artifact(seed=seed), folder / f"{seed}.safetensors")
    return str(folder / f"{seed}.safetensors")


@pytest.mark.process
def test_a_publish_killed_before_its_row_is_invisible_and_cleaned_up(store: FileStore, tmp_path: Path) -> None:
    assert run_workers(store.folder, ["--kill", artifact_file(tmp_path, 7)]) == [-9]
    orphans = [name for name in artifact_files(store) if name.startswith("v3-")]
    assert len(orphans) == 1
    with FileStore(store.folder) as again:
        assert [info.version for info in again.versions("faces")] == [1, 2]
        assert again.verify_history("faces") == 3
        assert again.publish(image_artifact(seed=8), actor="bob") == 3
        assert orphans[0] not in artifact_files(again)
        assert len(artifact_files(again)) == 3
        assert again.publish(image_artifact(seed=7), actor="bob") == 4  # the killed one, tried again
        assert again.get("faces", 4).digest == image_artifact(seed=7).digest
        assert again.verify_history("faces") == 5


@pytest.mark.process
def test_processes_publish_and_decide_at_once(tmp_path: Path) -> None:
    """Three processes open a store that does not exist yet and each publish and activate fifty versions."""
    seeds = [range(1000 * worker, 1000 * worker + 50) for worker in range(3)]
    jobs = [[artifact_file(tmp_path, seed) for seed in mine] for mine in seeds]
    assert run_workers(tmp_path / "store", *jobs) == [0, 0, 0]
    with FileStore(tmp_path / "store") as store:
        infos = store.versions("faces")
        assert [info.version for info in infos] == list(range(1, 151))
        assert {info.digest for info in infos} == {image_artifact(seed=seed).digest for mine in seeds for seed in mine}
        for info in infos:
            assert store.get("faces", info.version).digest == info.digest
        assert store.rollout("faces").revision == 150
        assert store.verify_history("faces") == 300
        changes = sum(a.created_by != b.created_by for a, b in pairwise(infos))
        assert changes > 2  # they did run at the same time


def test_only_old_files_written_aside_are_removed(store: FileStore) -> None:
    folder = store.folder / "artifacts" / "faces"
    old, young = folder / f"{TEMP_PREFIX}old", folder / f"{TEMP_PREFIX}young"
    for path in (old, young):
        path.write_bytes(b"half")
    past = young.stat().st_mtime - ABANDONED_SECONDS - 60
    os.utime(old, (past, past))
    with FileStore(store.folder) as another:
        another.publish(image_artifact(seed=3), actor="ann")
    assert not old.exists()
    assert young.exists()


def no_store(folder: Path) -> None:
    folder.write_text("a file")


def no_database(folder: Path) -> None:
    folder.mkdir()
    (folder / "index.sqlite").write_bytes(b"this is no database at all, however long one may look at it" * 50)


def from_the_future(folder: Path) -> None:
    FileStore(folder).close()
    connection = sqlite3.connect(folder / "index.sqlite")
    connection.execute(f"PRAGMA user_version = {INDEX_SCHEMA_VERSION + 1}")
    connection.close()


@pytest.mark.parametrize(
    ("prepare", "error", "reason"),
    [
        (no_store, StoreUnavailable, "cannot make its folder"),
        (no_database, StoreUnavailable, "not a database"),
        (from_the_future, StoreError, "newer release"),
    ],
)
def test_a_folder_that_is_no_store_is_refused(
    tmp_path: Path, prepare: Callable[[Path], None], error: type[StoreError], reason: str
) -> None:
    prepare(tmp_path / "store")
    with pytest.raises(error, match=reason):
        FileStore(tmp_path / "store")


def test_a_store_whose_files_vanish_says_so(store: FileStore) -> None:
    tamper(store, "DELETE FROM rollouts")
    connection = sqlite3.connect(store.folder / "index.sqlite")
    connection.execute("DROP TABLE rollouts")
    connection.close()
    with pytest.raises(StoreUnavailable, match="no such table"):
        store.rollout("faces")


def test_urls(tmp_path: Path) -> None:
    folder = tmp_path / "a store"
    with pytest.raises(NotFound, match="no trigger store"):
        open_store(folder, create=False)
    for url in (str(folder), folder, folder.as_uri(), f"file://localhost{tmp_path}/a%20store"):
        with open_store(url) as store:
            assert store.url == folder.as_uri()
    for url in ("redis+tls://localhost", "http://x/y", "file://server/share", "file://", ""):
        with pytest.raises(ConfigError, match="store"):
            open_store(url)


def test_a_store_of_the_first_schema_is_read_and_carried_on(store: FileStore) -> None:
    """The release before kept a champion only, and histories without plans: their hashes still hold."""
    store.close()
    connection = sqlite3.connect(store.folder / "index.sqlite")
    connection.executescript("DROP TABLE plans; DROP TABLE replicas; PRAGMA user_version = 1")
    connection.close()
    with FileStore(store.folder) as again:
        assert (again.rollout("faces").revision, again.rollout("faces").plan) == (1, RolloutPlan(1))
        assert again.verify_history("faces") == 3
        again.set_rollout("faces", RolloutPlan(1, Challenger(2, 0.1)), if_revision=1, actor="ann", reason="")
        assert again.rollback("faces", if_revision=2, actor="ann", reason="").plan == RolloutPlan(1)
        assert again.verify_history("faces") == 5


@pytest.mark.parametrize("text", ["{}", "no JSON", '{"champion": 2}', '{"champion": 1, "twin_share": 0.5}'])
def test_an_altered_plan_is_noticed(store: FileStore, text: str) -> None:
    store.set_rollout("faces", RolloutPlan(1, Challenger(2, 0.1)), if_revision=None, actor="ann", reason="")
    tamper(store, f"UPDATE plans SET plan = '{text}'")
    with pytest.raises(StoreError):
        store.verify_history("faces")


def test_publishing_reads_no_other_version(tmp_path: Path) -> None:
    with FileStore(tmp_path / "store") as store:
        for seed in range(3):
            assert store.publish(image_artifact(seed=seed), actor="test") == seed + 1
        with store._index.write() as db:
            db.execute("UPDATE versions SET manifest = 'unreadable' WHERE version = 1")
        assert store.publish(image_artifact(seed=3), actor="test") == 4
        assert store.publish(image_artifact(seed=2), actor="test") == 3


@pytest.mark.parametrize(("extra", "taken"), [(0, True), (1, False)])
def test_a_file_of_the_largest_size_is_read_and_one_byte_more_is_not(extra: int, taken: bool, tmp_path: Path) -> None:
    with FileStore(tmp_path / "store") as store:
        info = store.version("faces", store.publish(image_artifact(), actor="test"))
        data = bytes(MAX_ARTIFACT_BYTES) + bytes(extra)
        store.path_of(info).write_bytes(data)
        with store._index.write() as db:
            db.execute("UPDATE versions SET file_sha256 = ?", (file_digest(bytes(data)),))
        if taken:
            assert len(store.get_bytes("faces", 1)) == MAX_ARTIFACT_BYTES
        else:
            with pytest.raises(ArtifactCorrupt, match="altered"):
                store.get_bytes("faces", 1)
