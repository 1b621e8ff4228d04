"""The command `wrap`: a bundle from a model as its owner has it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from fairtrigger.wrapping import wrap as wrap_model
from triggers.errors import ConfigError


def register_wrap_command(app: typer.Typer) -> None:
    """Register the command."""
    app.command(epilog="Example: fairtrigger wrap ./my-model --positive toxic --out models/comments")(wrap)


def wrap(
    source: Annotated[
        str,
        typer.Argument(
            help="Folder, OWNER/NAME@COMMIT, torchvision:NAME, FILE.onnx, FILE.pt2, FILE.py:FUNCTION, MODULE:FUNCTION, "
            "https://..., grpc://...",
            show_default=False,
        ),
    ],
    out: Annotated[Path | None, typer.Option("--out", help="The new bundle's folder; default models/NAME.")] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Name in URLs and stores; default that of --out, or the source.")
    ] = None,
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
    image: Annotated[
        str | None, typer.Option("--image", help="How pictures are prepared: JSON, or a file of it (docs/models.md).")
    ] = None,
    head: Annotated[
        str | None, typer.Option("--head", help="What the outputs mean: JSON, or a file of it (docs/models.md).")
    ] = None,
    output: Annotated[str | None, typer.Option("--output", help="Of a file's several outputs, the one.")] = None,
    weights: Annotated[Path | None, typer.Option("--weights", help="Weights (safetensors), where apart.")] = None,
    arguments: Annotated[str | None, typer.Option("--arguments", help="Arguments of the builder: JSON.")] = None,
    preset: Annotated[str | None, typer.Option("--preset", help="torchvision's preset, as IMAGENET1K_V1.")] = None,
    protocol: Annotated[
        str | None,
        typer.Option("--protocol", help="What an address speaks: v2, v2-grpc, json, tei, ... (docs/endpoints.md)."),
    ] = None,
    endpoint: Annotated[
        str | None,
        typer.Option("--endpoint", help="How an address is asked: JSON, or a file of it (docs/endpoints.md)."),
    ] = None,
    precision: Annotated[
        Literal["float32", "bf16", "int8", "int4"],
        typer.Option("--precision", help="What answers are counted and served in; less memory for large models."),
    ] = "float32",
    inputs: Annotated[
        Path | None, typer.Option("--inputs", help="Folder of images or file of texts, one a line, to compare on too.")
    ] = None,
    accept_difference: Annotated[
        bool, typer.Option("--accept-difference", help="Write the bundle even if it answers otherwise than its source.")
    ] = False,
) -> None:
    """Write a bundle from a frozen model as you have it, and compare its answers with the model's own pipeline."""
    with _progress_bar() as progress:
        wrapped = wrap_model(
            source,
            out,
            name=name,
            label=label,
            positive=positive,
            labels=tuple(each.strip() for each in labels.split(",")) if labels else None,
            threshold=threshold,
            max_tokens=max_tokens,
            image=_object("--image", image),
            head=_object("--head", head),
            output=output,
            weights=weights,
            arguments=_object("--arguments", arguments),
            preset=preset,
            protocol=protocol,
            endpoint=_object("--endpoint", endpoint),
            precision=precision,
            inputs=inputs or (),
            accept_difference=accept_difference,
            progress=progress,
        )
    spec = wrapped.spec
    record = spec.comparison
    assert record
    for part, place in spec.origin.items():
        typer.echo(f"{part:12} {place}")
    typer.echo(
        f"compared     {record.inputs} inputs, alone and in mixed batches, with {record.oracle}: "
        f"largest difference {record.largest_difference:.1e}, {record.flips} labels differ"
    )
    for caution in wrapped.cautions:
        typer.echo(f"warning      {caution}")
    labelled = f"{', '.join(spec.labels)}; selected is {spec.labels[spec.pos_label]!r}"
    typer.echo(f"{wrapped.folder}: model {spec.name!r}, {labelled}")


@contextmanager
def _progress_bar() -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr while the comparison runs, gone when it is done; nothing where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("comparing with the source", total=None)
        yield lambda done, parts: bar.update(task, completed=done, total=parts)


def _object(option: str, text: str | None) -> dict[str, Any] | None:
    """A JSON object, given as such or as the name of its file. Raises ConfigError."""
    if text is None:
        return None
    try:
        found = json.loads(text if text.lstrip().startswith("{") else Path(text).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{option} {text}: give a JSON object, or the file that holds it ({error}).") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{option} {text}: a JSON object is needed, as {{...}}.")
    return found
