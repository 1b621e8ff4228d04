"""The commands that show and check trigger versions: list, show, verify, history."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fairtrigger.cli import output_tables
from fairtrigger.cli.options import (
    BundleOption,
    JsonOption,
    ModelArgument,
    classifier_of,
    console,
    models_of,
    open_existing_store,
    parse_version,
    print_json,
    trust_of,
)
from triggers.artifact.artifact import check_compatible
from triggers.artifact.signature import Trust
from triggers.errors import FairtriggerError, NotFound
from triggers.storage import write_atomically
from triggers.store import Store
from triggers.store.store import Rollout, VersionInfo, version_name
from triggers.store.version_card import card

if TYPE_CHECKING:
    from triggers.model import FrozenClassifier


LISTED = 100
"""Versions of each model that `list` shows unless told otherwise."""


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command("list", epilog="Example: fairtrigger --store ./fairtrigger-store list faces")(list_)
    app.command(epilog="Example: fairtrigger show faces v2 --png trigger.png")(show)
    app.command(epilog="Example: fairtrigger verify faces v2 --model-bundle models/faces")(verify)
    app.command(epilog="Example: fairtrigger history faces --limit 5")(history)


def list_(
    context: typer.Context,
    model: Annotated[str | None, typer.Argument(help="Only this model.", show_default=False)] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, help="How many versions of each model, the latest; default: 100, all as JSON."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List models and trigger versions, with the figures that choose between them."""
    most = limit or (None if as_json else LISTED)
    with open_existing_store(context) as store:
        names = models_of(store, model)
        models = {name: (store.rollout(name), store.versions(name, most)) for name in names}
    if as_json:
        print_json([card(info, rollout) for rollout, versions in models.values() for info in versions])
    elif not models:
        typer.echo("The store is empty. Train a trigger, or: fairtrigger push FILE")
    else:
        console().print(output_tables.versions_table(models))
        for name, (_, versions) in models.items():
            if versions and versions[0].version > 1:
                typer.echo(
                    f"{name}: {versions[0].version - 1} earlier versions are not listed; raise --limit.", err=True
                )


def show(
    context: typer.Context,
    model: ModelArgument,
    version: Annotated[str | None, typer.Argument(help="v7 or 7; default: the champion, else the latest.")] = None,
    as_json: JsonOption = False,
    png: Annotated[Path | None, typer.Option("--png", help="Write a picture of an image trigger to this file.")] = None,
) -> None:
    """Show the card of a version: what it is, for which model, and its figures with and without the trigger."""
    with open_existing_store(context) as store:
        rollout = store.rollout(models_of(store, model)[0])
        info = store.version(model, parse_version(version) if version else _usual_version(store, rollout))
        picture = _picture(store, info) if png else b""
    content = card(info, rollout)
    if as_json:
        print_json(content)
    else:
        page = console()
        page.print(output_tables.facts_table(content))
        for split, reports in content["evaluation"].items():
            page.print(output_tables.effect_table(split, reports))
    if png:
        write_atomically(png, picture)
        typer.echo(f"Wrote {png}", err=True)


def verify(
    context: typer.Context,
    model: Annotated[str | None, typer.Argument(help="Only this model.", show_default=False)] = None,
    version: Annotated[str | None, typer.Argument(help="Only this version.", show_default=False)] = None,
    bundle: BundleOption = None,
) -> None:
    """Check files against hash and digest, signatures, histories against their chain, and triggers against a model."""
    classifier = classifier_of(bundle)
    failures = 0
    with open_existing_store(context) as store:
        for name in models_of(store, model):
            failures += _check(f"{name} history", partial(_verified_history, store, name))
            numbers = [parse_version(version)] if version else [info.version for info in store.versions(name)]
            for each in numbers:
                check = partial(_verified, store, name, each, classifier, trust_of(context))
                failures += _check(f"{name} {version_name(each)}", check)
    if failures:
        raise FairtriggerError(f"{failures} of these checks failed.")


def history(
    context: typer.Context,
    model: ModelArgument,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many entries, newest first.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """Show who changed what, when and why: newest first."""
    with open_existing_store(context) as store:
        entries = store.history(models_of(store, model)[0], limit)
    if as_json:
        print_json([entry.to_dict() for entry in entries])
    else:
        console().print(output_tables.history_table(entries))


def _usual_version(store: Store, rollout: Rollout) -> int:
    if rollout.champion is not None:
        return rollout.champion
    versions = store.versions(rollout.model, limit=1)
    if not versions:
        raise NotFound(f"Nothing was published for model {rollout.model!r} yet.")
    return versions[-1].version


def _picture(store: Store, info: VersionInfo) -> bytes:
    """The PNG file that shows an image trigger."""
    from triggers.trigger import ImageTrigger, preview_png

    trigger = store.get(info.model, info.version).trigger
    if not isinstance(trigger, ImageTrigger):
        raise NotFound(f"{info.name} is a text trigger and has no picture; its words are on the card.")
    return preview_png(trigger)


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
