"""The commands that change a model's rollout: champion, challenger, shadows, twins, guard and rollback."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Annotated, Any

import typer

from fairtrigger.cli import output_tables
from fairtrigger.cli.options import (
    ActorOption,
    BundleOption,
    JsonOption,
    ModelArgument,
    ReasonOption,
    RevisionOption,
    classifier_of,
    console,
    current_user,
    models_of,
    open_existing_store,
    parse_version,
    print_json,
)
from triggers.errors import InputError
from triggers.rollout import RolloutPlan
from triggers.rollout.rollout_plan import Challenger, Shadow, plan_text
from triggers.store import Store, artifact_gate
from triggers.store.store import Rollout, version_name

OFF = "off"
ShareOption = Annotated[float, typer.Option("--share", min=0.0, max=1.0, help="Which share, from 0 to 1.")]


def register_rollout_commands(app: typer.Typer) -> None:
    """Register the commands."""
    app.command(
        epilog="Example: fairtrigger activate faces v2 --reason 'fairer'; back to bare: fairtrigger activate faces none"
    )(activate)
    app.command(epilog="Example: fairtrigger canary faces v3 --share 0.05; to end it: fairtrigger canary faces off")(
        canary
    )
    app.command(epilog="Example: fairtrigger shadow faces v3 v4; to end it: fairtrigger shadow faces off")(shadow)
    app.command(epilog="Example: fairtrigger twin faces 0.01")(twin)
    app.command(
        epilog="Example: fairtrigger guard faces '{\"worse_by\": 0.02}'; to end it: fairtrigger guard faces off"
    )(guard)
    app.command(epilog="Example: fairtrigger rollback faces --reason 'complaints about v2'")(rollback)
    app.command("rollout", epilog="Example: fairtrigger rollout faces")(show_rollout)


def activate(
    context: typer.Context,
    model: ModelArgument,
    version: Annotated[str, typer.Argument(help="v7 or 7; `none` for the bare model.", show_default=False)],
    reason: ReasonOption = "",
    if_revision: RevisionOption = None,
    bundle: BundleOption = None,
    actor: ActorOption = "",
) -> None:
    """Make a version the champion, once it verifies; this ends a challenger's trial. Refusals go into the history."""
    chosen = None if version == "none" else parse_version(version)
    with open_existing_store(context) as store:
        before = store.rollout(models_of(store, model)[0])
        after = artifact_gate.activate_version(
            store,
            model,
            chosen,
            actor=actor or current_user(),
            reason=reason,
            if_revision=if_revision,
            classifier=classifier_of(bundle),
            certified=context.obj.require_certified,
        )
        _report(store, before, after)


def canary(
    context: typer.Context,
    model: ModelArgument,
    version: Annotated[str, typer.Argument(help="v7 or 7; `none` for the bare model; `off`.", show_default=False)],
    share: ShareOption = 0.05,
    reason: ReasonOption = "",
    if_revision: RevisionOption = None,
    bundle: BundleOption = None,
    actor: ActorOption = "",
) -> None:
    """Let a challenger answer a share of the requests; one request key always gets the same of the two."""
    chosen = None if version in ("none", OFF) else parse_version(version)
    challenger = None if version == OFF else Challenger(chosen, share)
    change = partial(replace, challenger=challenger)
    _decide(context, model, change, reason, if_revision, bundle, actor)


def shadow(
    context: typer.Context,
    model: ModelArgument,
    versions: Annotated[list[str], typer.Argument(help="Versions, as v7 or 7; or `off`.", show_default=False)],
    share: ShareOption = 1.0,
    reason: ReasonOption = "",
    if_revision: RevisionOption = None,
    bundle: BundleOption = None,
    actor: ActorOption = "",
) -> None:
    """Compute other versions beside the answers and count them; nobody gets what they say."""
    chosen = Shadow() if versions == [OFF] else Shadow(tuple(map(parse_version, versions)), share)
    _decide(context, model, partial(replace, shadow=chosen), reason, if_revision, bundle, actor)


def twin(
    context: typer.Context,
    model: ModelArgument,
    share: Annotated[float, typer.Argument(min=0.0, max=1.0, help="Share of the inputs; 0 ends it.")],
    reason: ReasonOption = "",
    if_revision: RevisionOption = None,
    actor: ActorOption = "",
) -> None:
    """Run a sample of the inputs a second time without the trigger, to measure what the trigger does."""
    _decide(context, model, partial(replace, twin_share=share), reason, if_revision, None, actor)


def guard(
    context: typer.Context,
    model: ModelArgument,
    rules: Annotated[str, typer.Argument(help="Limits as a JSON object; or `off`.", show_default=False)],
    reason: ReasonOption = "",
    if_revision: RevisionOption = None,
    actor: ActorOption = "",
) -> None:
    """Let running services watch live fairness and take a version out of service when a test fires."""
    chosen = None if rules == OFF else _document(rules)
    _decide(context, model, partial(replace, guard=chosen), reason, if_revision, None, actor)


def rollback(context: typer.Context, model: ModelArgument, reason: ReasonOption = "", actor: ActorOption = "") -> None:
    """Return to the rollout before the current one: champion, challenger, shadows and all."""
    with open_existing_store(context) as store:
        before = store.rollout(models_of(store, model)[0])
        who, certified = actor or current_user(), context.obj.require_certified
        after = artifact_gate.rollback_plan(store, model, actor=who, reason=reason, certified=certified)
        _report(store, before, after)


def show_rollout(context: typer.Context, model: ModelArgument, as_json: JsonOption = False) -> None:
    """Show who serves a model now, and which running services are at which revision."""
    with open_existing_store(context) as store:
        rollout = store.rollout(models_of(store, model)[0])
        replicas = store.replicas(model)
    if as_json:
        print_json(output_tables.rollout_dict(rollout, replicas))
    else:
        console().print(output_tables.rollout_table(rollout, replicas))


def _document(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise InputError("bad_rollout", f"The guard is no JSON object ({error}): {text[:100]!r}.") from error


def _decide(
    context: typer.Context,
    model: str,
    change: Callable[[RolloutPlan], RolloutPlan],
    reason: str,
    if_revision: int | None,
    bundle: BundleOption,
    actor: str,
) -> None:
    with open_existing_store(context) as store:
        before = store.rollout(models_of(store, model)[0])
        after = artifact_gate.change_plan(
            store,
            model,
            change,
            actor=actor or current_user(),
            reason=reason,
            if_revision=if_revision,
            classifier=classifier_of(bundle),
            certified=context.obj.require_certified,
        )
        _report(store, before, after)


def _report(store: Store, before: Rollout, after: Rollout) -> None:
    """Print the change, and on stderr the sentence of every version that answers from now on and is not certified."""
    change = f"{version_name(before.champion)} -> {version_name(after.champion)}"
    beside = plan_text(after.plan)
    typer.echo(f"{after.model}: {change}{beside and f', {beside}'} (revision {after.revision})")
    for version in sorted(set(after.plan.answering) - set(before.plan.answering)):
        info = store.version(after.model, version)
        if info.selection and info.selection.status != "certified":
            typer.echo(f"Warning: {info.name} is {info.selection.sentence}", err=True)
