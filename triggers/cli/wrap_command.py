"""The command `wrap`: a bundle from a model as its owner has it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from triggers.errors import ConfigError


def register_wrap_command(app: typer.Typer) -> None:
    """Register the command."""
    app.command(epilog="Example: fairtrigger wrap ./my-model --positive toxic --out models/comments")(wrap)


def wrap(
    source: Annotated[str, typer.Argument(help="A transformers folder.", show_default=False)],
    out: Annotated[Path | None, typer.Option("--out", help="The new bundle's folder; default models/NAME.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name in URLs and stores; default the source's.")] = None,
    label: Annotated[
        str | None, typer.Option("--label", help="Of several labels at once, the one that counts.")
    ] = None,
    positive: Annotated[
        str | None, typer.Option("--positive", help="The label whose rate is watched; default the second of two.")
    ] = None,
    labels: Annotated[
        str | None, typer.Option("--labels", help="Label names by commas, in the network's order.")
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option("--threshold", help="Score from which --positive is the decision; default: best wins."),
    ] = None,
    max_tokens: Annotated[int | None, typer.Option("--max-tokens", help="Tokens that longer texts are cut to.")] = None,
    inputs: Annotated[
        Path | None, typer.Option("--inputs", help="Folder of images or file of texts, one a line, to compare on too.")
    ] = None,
    accept_difference: Annotated[
        bool, typer.Option("--accept-difference", help="Write the bundle even if it answers otherwise than its source.")
    ] = False,
) -> None:
    """Write a bundle from a frozen model as you have it, and compare its answers with the model's own pipeline."""
    from triggers.sources import WrapOptions, read_source, write_bundle

    options = WrapOptions(
        name=name,
        label=label,
        positive=positive,
        labels=tuple(each.strip() for each in labels.split(",")) if labels else None,
        threshold=threshold,
        max_tokens=max_tokens,
    )
    read = read_source(source, options)
    folder = out or Path("models") / (name or read.name)
    spec = write_bundle(read, folder, options, _inputs(inputs, read.modality), accept_difference=accept_difference)
    record = spec.comparison
    assert record
    for part, place in spec.origin.items():
        typer.echo(f"{part:12} {place}")
    typer.echo(
        f"compared     {record.inputs} inputs, alone and in mixed batches, with {record.oracle}: "
        f"largest difference {record.largest_difference:.1e}, {record.flips} labels differ"
    )
    typer.echo(f"{folder}: model {spec.name!r}, {', '.join(spec.labels)}; selected is {spec.labels[spec.pos_label]!r}")


def _inputs(path: Path | None, modality: str) -> list[bytes | str]:
    """The owner's own inputs. Raises ConfigError."""
    if path is None:
        return []
    if modality == "image" and path.is_dir():
        return [each.read_bytes() for each in sorted(path.iterdir()) if each.is_file()]
    if modality == "text" and path.is_file():
        return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    raise ConfigError(f"--inputs {path}: give a folder of image files, or a UTF-8 file with one text a line.")
