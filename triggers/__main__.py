"""`fairtrigger`: look at trigger versions, check them, decide which one serves, move them between stores.

A command that fails ends with 1 and one line on stderr; a wrong command line ends with 2.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from triggers import admission, deciding, keying, tables
from triggers.artifact import check_compatible, load_artifact, read_limited
from triggers.card import card
from triggers.classifier import FrozenClassifier
from triggers.command_line import (
    ActorOption,
    BundleOption,
    Chosen,
    JsonOption,
    ModelArgument,
    ReasonOption,
    VersionArgument,
    classifier_of,
    console,
    existing,
    me,
    models_of,
    number,
    opened,
    print_json,
    trust_of,
)
from triggers.durable import write_whole
from triggers.errors import FairtriggerError, NotFound
from triggers.image import ImageTrigger
from triggers.preview import preview_png
from triggers.signature import Trust, make_keys
from triggers.store import Rollout, Store, version_name

app = typer.Typer(
    name="fairtrigger",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Look at fairness triggers, check them, and decide which one serves a model.",
    epilog="Example: fairtrigger list; fairtrigger show faces v2; fairtrigger activate faces v2 --reason 'fairer'",
)

DEFAULT_STORE = "./fairtrigger-store"


@app.callback()
def choose_store(
    context: typer.Context,
    store: Annotated[
        str,
        typer.Option("--store", envvar="FAIRTRIGGER_STORE", help="Folder or URL (file, redis) of the trigger store."),
    ] = DEFAULT_STORE,
    trusted_keys: Annotated[
        str,
        typer.Option(
            "--trusted-keys", envvar="FAIRTRIGGER_TRUSTED_KEYS", help="Public keys, or folders of *.pub; by commas."
        ),
    ] = "",
    require_signatures: Annotated[
        bool,
        typer.Option(
            "--require-signatures", envvar="FAIRTRIGGER_REQUIRE_SIGNATURES", help="Refuse what nobody signed."
        ),
    ] = False,
    history_key: Annotated[
        Path | None,
        typer.Option(
            "--history-key", envvar="FAIRTRIGGER_HISTORY_KEY", help="Private key that signs what is decided here."
        ),
    ] = None,
    trusted_history_keys: Annotated[
        str,
        typer.Option(
            "--trusted-history-keys",
            envvar="FAIRTRIGGER_TRUSTED_HISTORY_KEYS",
            help="Public keys of others who may decide; by commas.",
        ),
    ] = "",
) -> None:
    """Look at fairness triggers, check them, and decide which one serves a model."""
    context.obj = Chosen(store, _paths(trusted_keys), require_signatures, history_key, _paths(trusted_history_keys))


def _paths(listed: str) -> list[Path]:
    return [Path(each.strip()) for each in listed.split(",") if each.strip()]


@app.command("list", epilog="Example: fairtrigger --store ./fairtrigger-store list faces")
def list_(
    context: typer.Context,
    model: Annotated[str | None, typer.Argument(help="Only this model.", show_default=False)] = None,
    as_json: JsonOption = False,
) -> None:
    """List models and trigger versions, with the figures that choose between them."""
    with existing(context) as store:
        names = models_of(store, model)
        models = {name: (store.rollout(name), store.versions(name)) for name in names}
    if as_json:
        print_json([card(info, rollout) for rollout, versions in models.values() for info in versions])
    elif not models:
        typer.echo("The store is empty. Train a trigger, or: fairtrigger push FILE")
    else:
        console().print(tables.overview(models))


@app.command(epilog="Example: fairtrigger show faces v2 --png trigger.png")
def show(
    context: typer.Context,
    model: ModelArgument,
    version: Annotated[str | None, typer.Argument(help="v7 or 7; default: the champion, else the latest.")] = None,
    as_json: JsonOption = False,
    png: Annotated[Path | None, typer.Option("--png", help="Write a picture of an image trigger to this file.")] = None,
) -> None:
    """Show the card of a version: what it is, for which model, and its figures with and without the trigger."""
    with existing(context) as store:
        rollout = store.rollout(models_of(store, model)[0])
        info = store.version(model, number(version) if version else _usual_version(store, rollout))
        trigger = store.get(model, info.version).trigger if png else None
    if png and not isinstance(trigger, ImageTrigger):
        raise NotFound(f"{info.name} is a text trigger and has no picture; its words are on the card.")
    content = card(info, rollout)
    if as_json:
        print_json(content)
    else:
        page = console()
        page.print(tables.facts(content))
        for split, reports in content["evaluation"].items():
            page.print(tables.effect(split, reports))
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
    """Check files against hash and digest, signatures, histories against their chain, and triggers against a model."""
    classifier = classifier_of(bundle)
    failures = 0
    with existing(context) as store:
        for name in models_of(store, model):
            failures += _check(f"{name} history", partial(_verified_history, store, name))
            numbers = [number(version)] if version else [info.version for info in store.versions(name)]
            for each in numbers:
                check = partial(_verified, store, name, each, classifier, trust_of(context))
                failures += _check(f"{name} {version_name(each)}", check)
    if failures:
        raise FairtriggerError(f"{failures} of these checks failed.")


@app.command(epilog="Example: fairtrigger history faces --limit 5")
def history(
    context: typer.Context,
    model: ModelArgument,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many entries, newest first.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """Show who changed what, when and why: newest first."""
    with existing(context) as store:
        entries = store.history(models_of(store, model)[0], limit)
    if as_json:
        print_json([entry.to_dict() for entry in entries])
    else:
        console().print(tables.log(entries))


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
    push = partial(admission.push, model=model, classifier=classifier_of(bundle), file=file.name)
    with opened(context) as store:
        version = push(store, data, actor=actor or me(), reason=reason)
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
    chosen = number(version)
    path = output or Path(f"{model}-{version_name(chosen)}.safetensors")
    if path.exists() and not force:
        raise FairtriggerError(f"{path} exists; choose another name with -o, or overwrite it with --force.")
    with existing(context) as store:
        store.get(model, chosen)
        write_whole(path, store.get_bytes(model, chosen))
    typer.echo(str(path))


@app.command(epilog="Example: fairtrigger keygen trainer.key; give trainer.pub to whoever shall trust it")
def keygen(
    path: Annotated[Path, typer.Argument(help="File of the private key; the public one is beside it, as *.pub.")],
) -> None:
    """Make an Ed25519 key that a trainer signs triggers with (publish.signing_key)."""
    public = path.with_suffix(".pub")
    if public == path:
        raise FairtriggerError(f"{path} is the public key's name; give the private one another, such as trainer.key.")
    if taken := [str(each) for each in (path, public) if each.exists()]:
        raise FairtriggerError(f"{taken[0]} exists, and keys are not overwritten: choose another name.")
    secret, open_half, name = make_keys()
    write_whole(path, secret)
    write_whole(public, open_half)
    public.chmod(0o644)
    typer.echo(f"{path}  private: keep it where only the trainer reads it")
    typer.echo(f"{public}  public, key {name}: for trusted_keys")


deciding.add_to(app)
keying.add_to(app)


def _usual_version(store: Store, rollout: Rollout) -> int:
    if rollout.champion is not None:
        return rollout.champion
    versions = store.versions(rollout.model)
    if not versions:
        raise NotFound(f"Nothing was published for model {rollout.model!r} yet.")
    return versions[-1].version


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


def _verified(store: Store, model: str, version: int, classifier: FrozenClassifier | None, trust: Trust) -> str:
    artifact = store.get(model, version)
    if classifier:
        check_compatible(artifact, classifier)
    if artifact.signature is None:
        return f"{artifact.digest}  unsigned"
    signer = trust.check(artifact.digest, artifact.signature)
    by = (
        f"signed by {signer}" if signer else f"signed with key {artifact.signature.key}, not checked: no --trusted-keys"
    )
    return f"{artifact.digest}  {by}"


def main(words: list[str] | None = None) -> None:
    """Run the command, on sys.argv unless given; an expected failure is one line on stderr and status 1."""
    try:
        app(words, prog_name="fairtrigger")
    except (FairtriggerError, OSError) as error:
        typer.echo("fairtrigger: " + " ".join(str(error).split()), err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
