"""Shared parts of the `fairtrigger` commands: arguments, options, opening the store, printing."""

from __future__ import annotations

import getpass
import json
import re
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from triggers.artifact.signature import Trust, read_history_trust, read_signer, read_trust
from triggers.errors import NotFound
from triggers.store import Store, open_store

if TYPE_CHECKING:
    from triggers.model import FrozenClassifier

ModelArgument = Annotated[str, typer.Argument(help="Name of the model.", show_default=False)]
VersionArgument = Annotated[str, typer.Argument(help="Version, as v7 or 7.", show_default=False)]
BundleOption = Annotated[Path | None, typer.Option("--model-bundle", help="Also check against this frozen model.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; kept in the history.")]
ActorOption = Annotated[str, typer.Option("--actor", help="Who; default USER@HOST.", show_default=False)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
RevisionOption = Annotated[int | None, typer.Option("--if-revision", help="Only at this revision.")]


DEFAULT_STORE = "./fairtrigger-store"


@dataclass(frozen=True)
class Chosen:
    """The options before the command: the store, whose signatures are accepted, and what may answer."""

    store: str
    trusted_keys: Sequence[Path]
    require_signatures: bool
    history_key: Path | None = None
    trusted_history_keys: Sequence[Path] = ()
    require_certified: bool = False


def trust_of(context: typer.Context) -> Trust:
    """The keys whose signatures on triggers are accepted."""
    chosen: Chosen = context.obj
    return read_trust(chosen.trusted_keys, required=chosen.require_signatures)


def open_or_create_store(context: typer.Context, *, create: bool = True) -> Store:
    """The store, made when it is missing."""
    chosen: Chosen = context.obj
    signer = read_signer(chosen.history_key) if chosen.history_key else None
    history_trust = read_history_trust(signer, chosen.trusted_history_keys)
    return open_store(chosen.store, create=create, trust=trust_of(context), signer=signer, history_trust=history_trust)


def open_existing_store(context: typer.Context) -> Store:
    """The store, not made when it is missing. Raises NotFound."""
    try:
        return open_or_create_store(context, create=False)
    except NotFound as error:
        raise NotFound(f"{error} Name one with --store or FAIRTRIGGER_STORE.") from error


def models_of(store: Store, model: str | None) -> list[str]:
    """The given model, if the store has it, or all models. Raises NotFound."""
    known = store.models()
    if model is not None and model not in known:
        raise NotFound(f"The store has no model {model!r}; it has: {', '.join(known) or 'none yet'}.")
    return known if model is None else [model]


def parse_version(version: str) -> int:
    """`v7` or `7` to 7."""
    match = re.fullmatch(r"v?([1-9][0-9]{0,8})", version)
    if not match:
        raise typer.BadParameter(f"{version!r} is no version; write v7 or 7.", param_hint="VERSION")
    return int(match[1])


def classifier_of(bundle: Path | None) -> FrozenClassifier | None:
    """The frozen model to check against, if one is given."""
    if not bundle:
        return None
    from triggers.model import load_bundle

    return load_bundle(bundle)


def current_user() -> str:
    """The default actor, USER@HOST."""
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (OSError, KeyError):  # a container's user without a name
        return f"unknown@{socket.gethostname()}"


def print_json(value: object) -> None:
    """Print JSON, indented."""
    typer.echo(json.dumps(value, indent=2))


def console() -> Console:
    """A console of the terminal's width, or of 160 columns where the output goes into a file or a pipe."""
    return Console() if sys.stdout.isatty() else Console(width=160)
