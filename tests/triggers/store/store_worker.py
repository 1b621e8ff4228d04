"""Another process at work on a store: `python -m tests.triggers.store.store_worker URL [--kill] FILE...`.

It says `ready`, waits for a line, then publishes each artifact file and makes it serve at the revision it read, trying
again after a conflict. With `--kill` it dies (SIGKILL) inside the first publish, when the file has its final name and
nothing is committed to the index.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

from triggers.artifact.artifact import load_artifact
from triggers.errors import RevisionConflict
from triggers.store.file_store import FileStore
from triggers.store.store import Store, open_store


class DyingStore(FileStore):
    """Dies where the row of a publish would be followed by its history entry."""

    def _append(self, *_: Any) -> NoReturn:
        os.kill(os.getpid(), signal.SIGKILL)
        raise SystemExit("unreachable")


def work(store: Store, files: list[str]) -> None:
    """Publish and activate, as fast as it goes."""
    actor = str(os.getpid())
    for file in files:
        version = store.publish(load_artifact(Path(file)), actor=actor)
        while True:
            revision = store.rollout("faces").revision
            try:
                store.set_rollout("faces", version, if_revision=revision, actor=actor, reason="")
                break
            except RevisionConflict:
                continue


def main() -> None:
    """Run as described above."""
    folder, *files = sys.argv[1:]
    kill = "--kill" in files
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    with DyingStore(folder) if kill else open_store(folder) as store:
        work(store, [file for file in files if file != "--kill"])


if __name__ == "__main__":
    main()
