"""The commands that move artifacts between stores, files and registries: push, pull, follow."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from fairtrigger.cli.options import (
    ActorOption,
    BundleOption,
    ModelArgument,
    ReasonOption,
    classifier_of,
    current_user,
    models_of,
    open_existing_store,
    open_or_create_store,
    parse_version,
    trust_of,
)
from triggers.artifact.artifact import check_compatible, load_artifact, read_limited
from triggers.artifact.manifest import check_model_name
from triggers.errors import ConfigError, FairtriggerError
from triggers.storage import write_atomically
from triggers.store import artifact_gate
from triggers.store.store import version_name

REGISTRIES = "mlflow:URI, hub:OWNER/NAME or hub-folder:PATH"
EndpointOption = Annotated[
    str | None, typer.Option("--endpoint", help="The hub's address; default HF_ENDPOINT, or the public one.")
]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command(
        epilog="Example: fairtrigger push faces-v2.safetensors --model faces --reason 'from the training machine'; "
        "to a registry: fairtrigger push faces v2 --to mlflow:http://localhost:5000 --aliases"
    )(push)
    app.command(
        epilog="Example: fairtrigger pull faces v2 -o faces-v2.safetensors; "
        "from a registry: fairtrigger pull faces champion --from mlflow:http://localhost:5000"
    )(pull)
    app.command(epilog="Example: fairtrigger follow mlflow:http://localhost:5000 --model faces")(follow)


def push(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Argument(
            metavar="FILE|MODEL", help="An artifact's file; with --to, a model of the store.", show_default=False
        ),
    ],
    version: Annotated[
        str | None, typer.Argument(help="With --to: a version of MODEL, as v7 or 7.", show_default=False)
    ] = None,
    to: Annotated[str | None, typer.Option("--to", metavar="REGISTRY", help=f"Out of the store: {REGISTRIES}.")] = None,
    aliases: Annotated[
        bool, typer.Option("--aliases", help="Set MLflow's champion and challenger as the store's rollout has them.")
    ] = False,
    endpoint: EndpointOption = None,
    model: Annotated[str | None, typer.Option("--model", help="The model it must be for.")] = None,
    reason: ReasonOption = "",
    bundle: BundleOption = None,
    actor: ActorOption = "",
) -> None:
    """Check an artifact's file and store it as the next version; with --to, copy a version into a registry."""
    if to is None:
        if version or aliases or endpoint:
            raise ConfigError("VERSION, --aliases and --endpoint have a meaning with --to REGISTRY only.")
        _push_file(context, Path(source), model, reason, bundle, actor)
        return
    if not version or model or reason or bundle or actor:
        raise ConfigError(f"To a registry goes a version of the store: fairtrigger push MODEL VERSION --to {to}")
    _push_version(context, source, parse_version(version), to, endpoint, aliases=aliases)


def _push_file(
    context: typer.Context, file: Path, model: str | None, reason: str, bundle: Path | None, actor: str
) -> None:
    data = read_limited(file)
    push = partial(artifact_gate.push_artifact, model=model, classifier=classifier_of(bundle), file=file.name)
    with open_or_create_store(context) as store:
        version = push(store, data, actor=actor or current_user(), reason=reason)
    artifact = load_artifact(data)
    typer.echo(f"{artifact.manifest.model} {version_name(version)}  {artifact.digest}")


def _push_version(
    context: typer.Context, model: str, version: int, address: str, endpoint: str | None, *, aliases: bool
) -> None:
    from fairtrigger.registries import MlflowRegistry, open_registry

    registry = open_registry(address, endpoint)
    if aliases and not isinstance(registry, MlflowRegistry):
        raise ConfigError("--aliases are MLflow's: --to mlflow:URI.")
    with open_existing_store(context) as store:
        models_of(store, model)
        store.get(model, version)
        info, rollout = store.version(model, version), store.rollout(model)
        name = registry.push(info, rollout, store.get_bytes(model, version))
        typer.echo(f"{info.name} -> {registry.place}, version {name}  {info.digest}")
        if aliases and isinstance(registry, MlflowRegistry):
            digests = {each.version: each.digest for each in store.versions(model)}
            for line in registry.push_aliases(rollout, digests):
                typer.echo(line)


def pull(
    context: typer.Context,
    model: ModelArgument,
    version: Annotated[
        str, typer.Argument(help="Version, as v7 or 7; of a registry its own, or an alias.", show_default=False)
    ],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Default: MODEL-vN.safetensors.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    source: Annotated[
        str | None, typer.Option("--from", metavar="REGISTRY", help=f"Into the store, or with -o a file: {REGISTRIES}.")
    ] = None,
    endpoint: EndpointOption = None,
    reason: ReasonOption = "",
    bundle: BundleOption = None,
    actor: ActorOption = "",
) -> None:
    """Copy a version's file out of the store; with --from, out of a registry into the store. Checked on the way."""
    if source is None:
        if endpoint or reason or bundle or actor:
            raise ConfigError("--endpoint, --reason, --model-bundle and --actor have a meaning with --from only.")
        _pull_file(context, model, parse_version(version), output, force=force)
        return
    from fairtrigger.registries import open_registry

    registry, classifier = open_registry(source, endpoint), classifier_of(bundle)
    data = registry.pull(check_model_name(model), version)
    if output:
        artifact = load_artifact(data)
        trust_of(context).check(artifact.digest, artifact.signature)
        if classifier:
            check_compatible(artifact, classifier)
        write_atomically(_free(output, force=force), data)
        typer.echo(str(output))
        return
    with open_or_create_store(context) as store:
        who, why = actor or current_user(), reason or f"{version} of {registry.place}"
        number = artifact_gate.push_artifact(
            store,
            data,
            actor=who,
            reason=why,
            model=model,
            classifier=classifier,
            file=f"{version} of {registry.place}",
        )
        info = store.version(model, number)
    typer.echo(f"{info.name}  {info.digest}")


def _pull_file(context: typer.Context, model: str, version: int, output: Path | None, *, force: bool) -> None:
    path = _free(output or Path(f"{model}-{version_name(version)}.safetensors"), force=force)
    with open_existing_store(context) as store:
        store.get(model, version)
        write_atomically(path, store.get_bytes(model, version))
    typer.echo(str(path))


def _free(path: Path, *, force: bool) -> Path:
    if path.exists() and not force:
        raise FairtriggerError(f"{path} exists; choose another name with -o, or overwrite it with --force.")
    return path


def follow(
    context: typer.Context,
    registry: Annotated[
        str,
        typer.Argument(
            metavar="REGISTRY",
            help="mlflow:URI, or mlflow:URI#NAME for a registered model of another name.",
            show_default=False,
        ),
    ],
    model: Annotated[str, typer.Option("--model", help="The model whose rollout follows.", show_default=False)],
    share: Annotated[
        float, typer.Option("--share", min=0.0, max=1.0, help="What a challenger answers, from 0 to 1.")
    ] = 0.05,
    once: Annotated[bool, typer.Option("--once", help="Look once, then end.")] = False,
    actor: ActorOption = "",
) -> None:
    """Let the store's champion and challenger go where an MLflow registry's aliases are moved; runs until stopped.

    Every version passes the store's checks. A running service follows its store, as ever, within a second.
    """
    from fairtrigger.registries import AliasFollower, MlflowRegistry, open_registry

    opened = open_registry(registry)
    if not isinstance(opened, MlflowRegistry):
        raise ConfigError(f"{registry!r} has no aliases: follow mlflow:URI.")
    with open_or_create_store(context) as store:
        follower = AliasFollower(
            opened,
            store,
            check_model_name(model),
            actor=actor or current_user(),
            share=share,
            certified=context.obj.require_certified,
        )
        line = follower.poll()  # a wrong address or name ends it now
        typer.echo(line or f"{model}: nothing moved since {opened.place} was followed last.")
        if not once:
            with suppress(KeyboardInterrupt):
                follower.follow(typer.echo)
