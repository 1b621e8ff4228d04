"""What the commands of `fairtrigger` have in common: arguments, options, the store that they look into, printing."""

from __future__ import annotations

import getpass
import json
import re
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from triggers.classifier import FrozenClassifier, load_bundle
from triggers.errors import NotFound
from triggers.signature import Trust, read_history_trust, read_signer, read_trust
from triggers.store import Store, open_store

ModelArgument = Annotated[str, typer.Argument(help="Name of the model.", show_default=False)]
VersionArgument = Annotated[str, typer.Argument(help="Version, as v7 or 7.", show_default=False)]
BundleOption = Annotated[Path | None, typer.Option("--model-bundle", help="Also check against this frozen model.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; kept in the history.")]
ActorOption = Annotated[str, typer.Option("--actor", help="Who; default USER@HOST.", show_default=False)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
RevisionOption = Annotated[int | None, typer.Option("--if-revision", help="Only at this revision.")]


@dataclass(frozen=True)
class Chosen:
    """What the options before the command say: the store, and whose signatures count there."""

    store: str
    trusted_keys: Sequence[Path]
    require_signatures: bool
    history_key: Path | None = None
    trusted_history_keys: Sequence[Path] = ()


def trust_of(context: typer.Context) -> Trust:
    """Whose signatures count."""
    chosen: Chosen = context.obj
    return read_trust(chosen.trusted_keys, required=chosen.require_signatures)


def opened(context: typer.Context, *, create: bool = True) -> Store:
    """The store, made when it is missing."""
    chosen: Chosen = context.obj
    signer = read_signer(chosen.history_key) if chosen.history_key else None
    history_trust = read_history_trust(signer, chosen.trusted_history_keys)
    return open_store(chosen.store, create=create, trust=trust_of(context), signer=signer, history_trust=history_trust)


def existing(context: typer.Context) -> Store:
    """The store, which reading commands do not make."""
    try:
        return opened(context, create=False)
    except NotFound as error:
        raise NotFound(f"{error} Name one with --store or FAIRTRIGGER_STORE.") from error


def models_of(store: Store, model: str | None) -> list[str]:
    """The one model asked for, if the store knows it, or all of them."""
    known = store.models()
    if model is not None and model not in known:
        raise NotFound(f"The store has no model {model!r}; it has: {', '.join(known) or 'none yet'}.")
    return known if model is None else [model]


def number(version: str) -> int:
    """`v7` or `7` to 7."""
    match = re.fullmatch(r"v?([1-9][0-9]{0,8})", version)
    if not match:
        raise typer.BadParameter(f"{version!r} is no version; write v7 or 7.", param_hint="VERSION")
    return int(match[1])


def classifier_of(bundle: Path | None) -> FrozenClassifier | None:
    """The frozen model to check against, if one is given."""
    return load_bundle(bundle) if bundle else None


def me() -> str:
    """Who calls the command."""
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (OSError, KeyError):  # a container's user without a name
        return f"unknown@{socket.gethostname()}"


def print_json(value: object) -> None:
    """JSON for programs."""
    typer.echo(json.dumps(value, indent=2))


def console() -> Console:
    """A terminal's own width, or a wide page where the output goes into a file or a pipe."""
    return Console() if sys.stdout.isatty() else Console(width=160)
