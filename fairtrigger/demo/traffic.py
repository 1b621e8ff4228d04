"""The demo's second half: held-out inputs as real HTTP traffic, first bare, then through a live swap to a trigger."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fairtrigger.demo.live_service import Answer, ReplayClient, Row
from trainer.progress import Progress, Task

CLIENTS = 8
SWAP_AFTER = 0.1
"""Share of the second pass that is on its way when the trigger is swapped in."""


def held_out(manifest: Path) -> list[Row]:
    """The test part of a manifest as clients would send it: the files' own bytes, or the texts."""
    with manifest.open(encoding="utf-8", newline="") as file:
        records = [record for record in csv.DictReader(file) if record["split"] == "test"]
    return [
        Row(
            record["text"] if "text" in record else (manifest.parent / record["path"]).read_bytes(),
            record["label"],
            record["group"],
        )
        for record in records
    ]


def replay(client: ReplayClient, rows: Sequence[Row], version: str, progress: Progress) -> None:
    """Every row once under no trigger and once under `version`, which is swapped in while the second pass flows.

    Every second row is sent without its group; labels and the missing groups come late, after each pass. Rows of the
    second pass that were answered before the swap count as bare and are sent again.
    """
    client.swap(None, "the demo begins without a trigger")
    with progress.task(f"{client.model}: traffic, no trigger", len(rows)) as task:
        client.feed_back(_send(client, rows, task))
    with progress.task(f"{client.model}: traffic, live swap to {version}", len(rows)) as task:
        answers = _send(client, rows, task, swap_to=version)
        client.feed_back(answers)
        again = [answer.row for answer in answers if answer.version is None]
        client.feed_back(_send(client, again))


def _send(
    client: ReplayClient, rows: Sequence[Row], task: Task | None = None, swap_to: str | None = None
) -> list[Answer]:
    """All rows from CLIENTS clients at once, with a swap on the way if one is asked for."""
    swap_at = round(SWAP_AFTER * len(rows)) if swap_to else -1
    with ThreadPoolExecutor(CLIENTS) as pool:
        waiting = [pool.submit(client.predict, row, with_group=at % 2 == 0) for at, row in enumerate(rows)]
        answers = []
        for at, future in enumerate(waiting):
            if at == swap_at:
                client.swap(swap_to, "the demo swaps its trigger in")
            answers.append(future.result())
            if task:
                task.advance()
    return answers
