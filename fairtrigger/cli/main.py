"""The `fairtrigger` command line: show and check trigger versions, change rollouts, move artifacts between stores.

A command that fails ends with 1 and one line on stderr; a wrong command line ends with 2.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from fairtrigger.cli import (
    audit_command,
    check_command,
    demo_command,
    key_commands,
    rollout_commands,
    score_command,
    store_commands,
    version_commands,
    wrap_command,
)
from fairtrigger.cli.options import DEFAULT_STORE, Chosen
from triggers.errors import FairtriggerError

app = typer.Typer(
    name="fairtrigger",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Look at fairness triggers, check them, and decide which one serves a model.",
    epilog="Example: fairtrigger list; fairtrigger show faces v2; fairtrigger activate faces v2 --reason 'fairer'",
)


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
    require_certified: Annotated[
        bool,
        typer.Option(
            "--require-certified",
            envvar="FAIRTRIGGER_REQUIRE_CERTIFIED",
            help="Refuse champions and challengers that are not certified.",
        ),
    ] = False,
) -> None:
    """Look at fairness triggers, check them, and decide which one serves a model."""
    context.obj = Chosen(
        store, _paths(trusted_keys), require_signatures, history_key, _paths(trusted_history_keys), require_certified
    )


def _paths(listed: str) -> list[Path]:
    return [Path(each.strip()) for each in listed.split(",") if each.strip()]


version_commands.add_to(app)
store_commands.add_to(app)
key_commands.register_key_commands(app)
rollout_commands.register_rollout_commands(app)
wrap_command.register_wrap_command(app)
score_command.register_score_command(app)
check_command.register_check_command(app)
demo_command.register_demo_command(app)
audit_command.register_audit_command(app)


def main(words: list[str] | None = None) -> None:
    """Run the command, on sys.argv unless given; an expected failure is one line on stderr and status 1."""
    try:
        app(words, prog_name="fairtrigger")
    except (FairtriggerError, OSError) as error:
        typer.echo("fairtrigger: " + " ".join(str(error).split()), err=True)
        sys.exit(1)
