"""`python -m examples.containers /models`: a frozen text classifier and its data, for the container stack to work on.

The demo's comments and tiny BERT, which are generated and fitted here in half a minute, so nothing is downloaded.
`examples/containers/run.toml` then learns a trigger for it.
"""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Annotated

import typer

from fairtrigger.demo import comments, tiny_bert
from triggers.model.bundle import SPEC_FILE

SIZES = {"base": 12_000, "tuning": 1_500, "val": 2_500, "test": 2_500}


def main(folder: Annotated[Path, typer.Argument(help="Gets comments/ (the bundle) and comments.csv.")]) -> None:
    """Write the data, and fit the classifier unless it is there."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = comments.comment_parts(SIZES, Random(0))
    comments.write_manifest(folder / "comments.csv", [each for each in parts.items() if each[0] != "base"])
    if not (folder / "comments" / SPEC_FILE).exists():
        typer.echo("Fitting a small classifier: half a minute, or more on a busy machine.", err=True)
        tiny_bert.fit_bert(folder / "comments", parts["base"], seed=0)
    typer.echo(f"{folder / 'comments'} is a frozen classifier, {folder / 'comments.csv'} its data.")


if __name__ == "__main__":
    typer.run(main)
