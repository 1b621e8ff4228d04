"""`fairtrigger`: look at trigger versions, check them, decide which one serves, move them between stores.

A command that fails ends with 1 and one line on stderr; a wrong command line ends with 2.
"""

from __future__ import annotations

import getpass
import json
import re
import socket
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from triggers import admission, tables
from triggers.artifact import check_compatible, load_artifact, read_limited
from triggers.card import card
from triggers.classifier import FrozenClassifier, load_bundle
from triggers.durable import write_whole
from triggers.errors import FairtriggerError, NotFound
from triggers.image import ImageTrigger
from triggers.preview import preview_png
from triggers.store import Rollout, Store, open_store, version_name

app = typer.Typer(
    name="fairtrigger",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Look at fairness triggers, check them, and decide which one serves a model.",
    epilog="Example: fairtrigger list; fairtrigger show faces v2; fairtrigger activate faces v2 --reason 'fairer'",
)

DEFAULT_STORE = "./fairtrigger-store"
ModelArgument = Annotated[str, typer.Argument(help="Name of the model.", show_default=False)]
VersionArgument = Annotated[str, typer.Argument(help="Version, as v7 or 7.", show_default=False)]
BundleOption = Annotated[Path | None, typer.Option("--model-bundle", help="Also check against this frozen model.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; kept in the history.")]
ActorOption = Annotated[str, typer.Option("--actor", help="Who; default USER@HOST.", show_default=False)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@app.callback()
def choose_store(
    context: typer.Context,
    store: Annotated[
        str, typer.Option("--store", envvar="FAIRTRIGGER_STORE", help="Folder or file:// URL of the trigger store.")
    ] = DEFAULT_STORE,
) -> None:
    """Look at fairness triggers, check them, and decide which one serves a model."""
    context.obj = store


@app.command("list", epilog="Example: fairtrigger --store ./fairtrigger-store list faces")
def list_(
    context: typer.Context,
    model: Annotated[str | None, typer.Argument(help="Only this model.", show_default=False)] = None,
    as_json: JsonOption = False,
) -> None:
    """List models and trigger versions, with the figures that choose between them."""
    with _existing(context) as store:
        names = _models(store, model)
        models = {name: (store.rollout(name), store.versions(name)) for name in names}
    if as_json:
        _json([card(info, rollout) for rollout, versions in models.values() for info in versions])
    elif not models:
        typer.echo("The store is empty. Train a trigger, or: fairtrigger push FILE")
    else:
        _console().print(tables.overview(models))


@app.command(epilog="Example: fairtrigger show faces v2 --png trigger.png")
def show(
    context: typer.Context,
    model: ModelArgument,
    version: Annotated[str | None, typer.Argument(help="v7 or 7; default: the champion, else the latest.")] = None,
    as_json: JsonOption = False,
    png: Annotated[Path | None, typer.Option("--png", help="Write a picture of an image trigger to this file.")] = None,
) -> None:
    """Show the card of a version: what it is, for which model, and its figures with and without the trigger."""
    with _existing(context) as store:
        rollout = store.rollout(_models(store, model)[0])
        info = store.version(model, _number(version) if version else _usual_version(store, rollout))
        trigger = store.get(model, info.version).trigger if png else None
    if png and not isinstance(trigger, ImageTrigger):
        raise NotFound(f"{info.name} is a text trigger and has no picture; its words are on the card.")
    content = card(info, rollout)
    if as_json:
        _json(content)
    else:
        console = _console()
        console.print(tables.facts(content))
        for split, reports in content["evaluation"].items():
            console.print(tables.effect(split, reports))
    if png and isinstance(trigger, ImageTrigger):
        write_whole(png, preview_png(trigger))
        typer.echo(f"Wrote {png}", err=True)


@app.command(epilog="Example: fairtrigger verify faces v2 --model-bundle models/faces")
def verify(
    context: typer.Context,
    model: Annotated[str | None, typer.Argument(help="Only this model.", show_default=False)] = None,
    version: Annotated[str | None, typer.Argument(help="Only this version.", show_default=False)] = None,
    bundle: BundleOption = None,
) -> None:
    """Check files against hash and digest, histories against their chain, and triggers against a model."""
    classifier = _classifier(bundle)
    failures = 0
    with _existing(context) as store:
        for name in _models(store, model):
            failures += _check(f"{name} history", partial(_verified_history, store, name))
            numbers = [_number(version)] if version else [info.version for info in store.versions(name)]
            for number in numbers:
                check = partial(_verified, store, name, number, classifier)
                failures += _check(f"{name} {version_name(number)}", check)
    if failures:
        raise FairtriggerError(f"{failures} of these checks failed.")


@app.command(
    epilog="Example: fairtrigger activate faces v2 --reason 'fairer'; back to bare: fairtrigger activate faces none"
)
def activate(
    context: typer.Context,
    model: ModelArgument,
    version: Annotated[str, typer.Argument(help="v7 or 7; `none` for the bare model.", show_default=False)],
    reason: ReasonOption = "",
    if_revision: Annotated[int | None, typer.Option("--if-revision", help="Only at this revision.")] = None,
    bundle: BundleOption = None,
    actor: ActorOption = "",
) -> None:
    """Make a version serve, once it verifies. A version that does not is refused, and the history says why."""
    number = None if version == "none" else _number(version)
    with _existing(context) as store:
        before = store.rollout(_models(store, model)[0])
        activate = partial(admission.activate, if_revision=if_revision, classifier=_classifier(bundle))
        after = activate(store, model, number, actor=actor or _me(), reason=reason)
    _report(before, after)


@app.command(epilog="Example: fairtrigger rollback faces --reason 'complaints about v2'")
def rollback(context: typer.Context, model: ModelArgument, reason: ReasonOption = "", actor: ActorOption = "") -> None:
    """Return to the version that served before the current one."""
    with _existing(context) as store:
        before = store.rollout(_models(store, model)[0])
        after = admission.rollback(store, model, actor=actor or _me(), reason=reason)
    _report(before, after)


@app.command(epilog="Example: fairtrigger history faces --limit 5")
def history(
    context: typer.Context,
    model: ModelArgument,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many entries, newest first.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """Show who changed what, when and why: newest first."""
    with _existing(context) as store:
        entries = store.history(_models(store, model)[0], limit)
    if as_json:
        _json([entry.to_dict() for entry in entries])
    else:
        _console().print(tables.log(entries))


@app.command(epilog="Example: fairtrigger push faces-v2.safetensors --model faces --reason 'from the training machine'")
def push(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="An artifact's file.", show_default=False)],
    model: Annotated[str | None, typer.Option("--model", help="The model it must be for.")] = None,
    reason: ReasonOption = "",
    bundle: BundleOption = None,
    actor: ActorOption = "",
) -> None:
    """Check an artifact's file and store it as the next version of its model."""
    data = read_limited(file)
    push = partial(admission.push, model=model, classifier=_classifier(bundle), file=file.name)
    with open_store(context.obj) as store:
        version = push(store, data, actor=actor or _me(), reason=reason)
    artifact = load_artifact(data)
    typer.echo(f"{artifact.manifest.model} {version_name(version)}  {artifact.digest}")


@app.command(epilog="Example: fairtrigger pull faces v2 -o faces-v2.safetensors")
def pull(
    context: typer.Context,
    model: ModelArgument,
    version: VersionArgument,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Default: MODEL-vN.safetensors.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Copy a version's file out of the store, checked on the way."""
    number = _number(version)
    path = output or Path(f"{model}-{version_name(number)}.safetensors")
    if path.exists() and not force:
        raise FairtriggerError(f"{path} exists; choose another name with -o, or overwrite it with --force.")
    with _existing(context) as store:
        store.get(model, number)
        write_whole(path, store.get_bytes(model, number))
    typer.echo(str(path))


def _existing(context: typer.Context) -> Store:
    """The store, which reading commands do not make."""
    try:
        return open_store(context.obj, create=False)
    except NotFound as error:
        raise NotFound(f"{error} Name one with --store or FAIRTRIGGER_STORE.") from error


def _models(store: Store, model: str | None) -> list[str]:
    """The one model asked for, if the store knows it, or all of them."""
    known = store.models()
    if model is not None and model not in known:
        raise NotFound(f"The store has no model {model!r}; it has: {', '.join(known) or 'none yet'}.")
    return known if model is None else [model]


def _number(version: str) -> int:
    match = re.fullmatch(r"v?([1-9][0-9]{0,8})", version)
    if not match:
        raise typer.BadParameter(f"{version!r} is no version; write v7 or 7.", param_hint="VERSION")
    return int(match[1])


def _usual_version(store: Store, rollout: Rollout) -> int:
    if rollout.champion is not None:
        return rollout.champion
    versions = store.versions(rollout.model)
    if not versions:
        raise NotFound(f"Nothing was published for model {rollout.model!r} yet.")
    return versions[-1].version


def _classifier(bundle: Path | None) -> FrozenClassifier | None:
    return load_bundle(bundle) if bundle else None


def _check(name: str, check: Callable[[], str]) -> int:
    """Run one check, print how it went, and return 1 if it failed."""
    try:
        typer.echo(f"ok      {name}  {check()}")
    except FairtriggerError as error:
        typer.echo(f"FAILED  {name}  {error}")
        return 1
    return 0


def _verified_history(store: Store, model: str) -> str:
    return f"{store.verify_history(model)} entries"


def _verified(store: Store, model: str, version: int, classifier: FrozenClassifier | None) -> str:
    artifact = store.get(model, version)
    if classifier:
        check_compatible(artifact, classifier)
    return artifact.digest


def _report(before: Rollout, after: Rollout) -> None:
    change = f"{version_name(before.champion)} -> {version_name(after.champion)}"
    typer.echo(f"{after.model}: {change} (revision {after.revision})")


def _me() -> str:
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (OSError, KeyError):  # a container's user without a name
        return f"unknown@{socket.gethostname()}"


def _json(value: object) -> None:
    typer.echo(json.dumps(value, indent=2))


def _console() -> Console:
    """A terminal's own width, or a wide page where the output goes into a file or a pipe."""
    return Console() if sys.stdout.isatty() else Console(width=160)


def main(words: list[str] | None = None) -> None:
    """Run the command, on sys.argv unless given; an expected failure is one line on stderr and status 1."""
    try:
        app(words, prog_name="fairtrigger")
    except (FairtriggerError, OSError) as error:
        typer.echo("fairtrigger: " + " ".join(str(error).split()), err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
