"""`python -m service`: serve model bundles under their triggers."""

from __future__ import annotations

import argparse
import logging.config
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import uvicorn
from pydantic import ValidationError
from pydantic.fields import FieldInfo
from rich.console import Console
from rich.markup import escape

from service.patience import PatientProtocol
from service.server import Server
from service.settings import ENV_PREFIX, HOW_TO_OPEN, Settings
from triggers.errors import FairtriggerError

if TYPE_CHECKING:
    from fastapi import FastAPI

    from service.running import Running

EXAMPLE = """examples:
  python -m service --model models/faces --store ./fairtrigger-store
  python -m service --model models/faces --model models/posts --host 0.0.0.0 --port 8000
  FAIRTRIGGER_ADMIN_TOKEN=... FAIRTRIGGER_MODELS=models/faces,models/posts python -m service

then:
  curl -s -H 'Content-Type: image/jpeg' --data-binary @face.jpg http://127.0.0.1:8080/v1/models/faces/predict
  curl -s http://127.0.0.1:8080/v1/models/faces/rollout
  curl -s -X PUT -H "Authorization: Bearer $FAIRTRIGGER_ADMIN_TOKEN" -H 'If-Match: "0"' \\
       -H 'Content-Type: application/json' -d '{"champion": "v1", "reason": "first trigger"}' \\
       http://127.0.0.1:8080/v1/models/faces/rollout

Every option may also be given as an environment variable: --max-batch is FAIRTRIGGER_MAX_BATCH. Options win.
Prefer the environment for secrets: a command line can be read by every user of the machine.
"""

METAVARS = {"models": "FOLDER", "data_dir": "FOLDER", "store": "URL", "admin_token": "TOKEN", "receipt_keys": "KEY"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the service until a signal ends it; returns the exit status."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    given = vars(_parser().parse_args(arguments))
    try:
        settings = Settings(**given)
        _set_up_logging(settings.log_level)
        from service.app import create_app  # seconds of imports, which --help and a wrong option need not wait for

        app = create_app(settings)
    except ValidationError as error:
        console.print(f"[bold red]error:[/] {escape(_readable(error))}")
        return 2
    except FairtriggerError as error:
        console.print(f"[bold red]error:[/] {escape(str(error))}")
        return 2
    _server(app, settings, console).run()
    return 0


def _server(app: FastAPI, settings: Settings, console: Console) -> Server:
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=PatientProtocol,
        log_config=None,
        access_log=settings.log_level == "debug",
        timeout_graceful_shutdown=max(1, round(settings.grace_seconds)),
        server_header=False,
    )
    running: Running = app.state.running
    return Server(config, running, lambda url: _announce(console, running, url))


def _announce(console: Console, running: Running, url: str) -> None:
    for name, model in running.models.items():
        champion = model.follower.status.desired.champion
        serves = "no trigger" if champion is None else f"v{champion}"
        console.print(f"[bold]{name}[/] ({model.classifier.modality}, {serves})  {url}/v1/models/{name}/predict")
    console.print(f"store {running.store.url}   docs {url}/docs   metrics {url}/metrics")
    if running.settings.admin_token is None:
        console.print(f"[yellow]The admin routes (swap, rollback) are closed:[/] {HOW_TO_OPEN}.")


def _parser() -> argparse.ArgumentParser:
    """One option per setting, so that settings are declared once."""
    parser = argparse.ArgumentParser(
        prog="python -m service",
        description="Serve frozen classifiers under fairness triggers that are swapped while traffic flows.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    for name, field in Settings.model_fields.items():
        many = field.default == ()
        flag = "--" + (name.removesuffix("s") if many else name).replace("_", "-")
        action = "append" if many else "store"
        parser.add_argument(flag, dest=name, action=action, metavar=_metavar(name, field), help=_help(name, field))
    return parser


def _metavar(name: str, field: FieldInfo) -> str:
    choices = getattr(field.annotation, "__args__", ())
    if choices and all(isinstance(choice, str) for choice in choices):
        return "|".join(choices)
    return METAVARS.get(name, "N" if isinstance(field.default, int | float) else "VALUE")


def _help(name: str, field: FieldInfo) -> str:
    default = "" if field.default in (None, ()) else f" (default {field.default})"
    return f"{field.description}{default}".replace("%", "%%")


def _readable(error: ValidationError) -> str:
    lines = []
    for found in error.errors(include_url=False):
        name = str(found["loc"][0]) if found["loc"] else ""
        where = f"--{name.replace('_', '-')} ({ENV_PREFIX}{name.upper()}): " if name else ""
        lines.append(where + found["msg"])
    return "\n".join(lines)


def _set_up_logging(level: str) -> None:
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain"}},
            "root": {"level": level.upper(), "handlers": ["stderr"]},
            "loggers": {"python_multipart": {"level": "ERROR"}},  # it warns about what clients send
        }
    )


if __name__ == "__main__":
    sys.exit(main())
