"""The commands that make keys: `keygen` for a trainer's signatures, `keys` for the API keys of the service."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from fairtrigger.cli.options import JsonOption, print_json
from triggers.api_keys import ROLES, add_key, as_toml, load_keys, new_api_key
from triggers.artifact.signature import make_keys
from triggers.errors import FairtriggerError
from triggers.storage import write_atomically

_FileOption = Annotated[
    Path | None, typer.Option("--file", envvar="FAIRTRIGGER_API_KEYS", help="Keys file (.toml or .json) to add it to.")
]
_RoleOption = Annotated[
    list[str], typer.Option("--role", help=f"What it may do: {', '.join(ROLES)}; repeat for several.")
]


def register_key_commands(app: typer.Typer) -> None:
    """Register the commands."""
    app.command(epilog="Example: fairtrigger keygen trainer.key; give trainer.pub to whoever shall trust it")(keygen)
    keys = typer.Typer(no_args_is_help=True, help="Make and list API keys of the service.")
    keys.command(epilog="Example: fairtrigger keys new shop --role predict --role feedback --expires 90d")(new)
    keys.command("list", epilog="Example: fairtrigger keys list --file keys.toml")(list_)
    app.add_typer(keys, name="keys")


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
    write_atomically(path, secret)
    write_atomically(public, open_half)
    public.chmod(0o644)
    typer.echo(f"{path}  private: keep it where only the trainer reads it")
    typer.echo(f"{public}  public, key {name}: for trusted_keys")


def new(
    role: _RoleOption,
    name: Annotated[str, typer.Argument(help="Whose it is: small letters, digits, hyphens.")] = "key",
    expires: Annotated[str | None, typer.Option("--expires", help="90d, 12h, or 2027-01-01.")] = None,
    rate: Annotated[float | None, typer.Option("--rate", min=0.001, help="Most requests per second.")] = None,
    burst: Annotated[int | None, typer.Option("--burst", min=1, help="How many may come at once.")] = None,
    file: _FileOption = None,
) -> None:
    """Print a new key, this once; its hash goes into the keys file. A running service reads it within a second."""
    key = new_api_key(name, role, _moment(expires), rate, burst)
    if file:
        add_key(file, key)
        typer.echo(f"Added {key.id} to {file}. Keep the key: nobody can print it again.", err=True)
    else:
        typer.echo(f"# Put this into the file of FAIRTRIGGER_API_KEYS:\n{as_toml(key)}", err=True)
    typer.echo(key.text)


def list_(
    file: Annotated[Path, typer.Option("--file", envvar="FAIRTRIGGER_API_KEYS", help="Keys file.")],
    as_json: JsonOption = False,
) -> None:
    """List ids, roles, expiry and limits. To end a key, delete its entry."""
    keys, now = load_keys(file), datetime.now(UTC)
    if as_json:
        print_json({name: entry.model_dump(mode="json", exclude={"hash"}) for name, entry in keys.items()})
        return
    for name, entry in keys.items():
        until = (
            f"{'expired' if entry.expired(now) else 'until'} {entry.expires:%Y-%m-%d %H:%M %Z}" if entry.expires else ""
        )
        rate = f"{entry.rate:g}/s" if entry.rate else ""
        typer.echo("  ".join(part for part in (name, ",".join(sorted(entry.roles)), until, rate) if part))


def _moment(text: str | None) -> datetime | None:
    """`90d`, `12h` from now, or an ISO date, in UTC if it names no zone."""
    if text is None:
        return None
    if span := re.fullmatch(r"([1-9][0-9]{0,4})([dh])", text):
        hours = int(span[1]) * (24 if span[2] == "d" else 1)
        return (datetime.now(UTC) + timedelta(hours=hours)).replace(microsecond=0)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(
            f"{text!r} is no time; write 90d, 12h or 2027-01-01.", param_hint="--expires"
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
