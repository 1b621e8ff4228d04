"""HateXplain's own file to the CSV file that run.toml reads.

python -m examples.hatexplain.convert HateXplain/Data/dataset.json posts.csv

One row per post: its id, its tokens joined by spaces, the label that most annotators chose, and `toxic`, 1 for
offensive or hateful. Posts without a majority are left out, as the data set's authors do.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from triggers.errors import DataError, FairtriggerError

FIELDS = ("id", "text", "label", "toxic")
LABELS = ("normal", "offensive", "hatespeech")


def read_posts(path: Path) -> dict[str, Any]:
    """HateXplain's posts: {id: {"annotators": [{"label": ...}], "post_tokens": [...]}}. Raises DataError."""
    try:
        posts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"Cannot read {path} as HateXplain's dataset.json: {error}") from error
    if not isinstance(posts, dict):
        raise DataError(f"{path} holds a {type(posts).__name__}, not posts by id; is it HateXplain's dataset.json?")
    return posts


def rows(posts: dict[str, Any]) -> Iterator[dict[str, str]]:
    """The CSV rows of all posts with a majority label, in the file's order. Raises DataError."""
    for name, post in posts.items():
        try:
            votes = Counter(annotator["label"] for annotator in post["annotators"])
            text = " ".join(post["post_tokens"])
        except (KeyError, TypeError) as error:
            raise DataError(f"Post {name} has no annotators' labels or no post_tokens ({error!r}).") from error
        if unknown := set(votes) - set(LABELS):
            raise DataError(f"Post {name} has the label {min(unknown)!r}; known: {', '.join(LABELS)}.")
        label, count = votes.most_common(1)[0]
        if 2 * count > votes.total():
            yield {"id": name, "text": text, "label": label, "toxic": str(int(label != "normal"))}


def main(
    source: Annotated[Path, typer.Argument(help="HateXplain's Data/dataset.json")],
    target: Annotated[Path, typer.Argument(help="the CSV file to write")],
) -> None:
    """Write HateXplain's posts as the CSV file that examples/hatexplain/run.toml reads (--set data.path=...)."""
    try:
        made = list(rows(read_posts(source)))
    except FairtriggerError as error:
        raise SystemExit(f"error: {error}") from error
    with target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        writer.writerows(made)
    print(f"{len(made)} posts with a majority label in {target}")


if __name__ == "__main__":
    typer.run(main)
