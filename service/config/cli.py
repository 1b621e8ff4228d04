"""The command line: one option per setting, so that settings are declared once."""

from __future__ import annotations

import argparse
import logging.config
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from service.config.settings import ENV_PREFIX, Settings

HELP_EXAMPLES = """examples:
  python -m service --model models/faces --store ./fairtrigger-store
  python -m service --model models/faces --model models/posts --host 0.0.0.0 --port 8000
  python -m service --model models/faces --devices all       (every GPU behind one port)
  FAIRTRIGGER_ADMIN_TOKEN=... FAIRTRIGGER_MODELS=models/faces,models/posts python -m service

then:
  curl -s -H 'Content-Type: image/jpeg' --data-binary @face.jpg http://127.0.0.1:8080/v1/models/faces/predict
  curl -s http://127.0.0.1:8080/v1/models/faces/rollout
  curl -s -X PUT -H "Authorization: Bearer $FAIRTRIGGER_ADMIN_TOKEN" -H 'If-Match: "0"' \\
       -H 'Content-Type: application/json' -d '{"champion": "v1", "reason": "first trigger"}' \\
       http://127.0.0.1:8080/v1/models/faces/rollout

Every option may also be given as an environment variable: --max-batch is FAIRTRIGGER_MAX_BATCH. Options win.
Prefer the environment for secrets: a command line can be read by every user of the machine. Better still are files:
FAIRTRIGGER_ADMIN_TOKEN_FILE=/run/secrets/admin_token; the same for RECEIPT_KEYS, LEDGER, STORE, WEBHOOK_URL.
"""

WITH_COMMAS = ("allow_factories", "endpoint_hosts", "devices", "guard_keys")
"""Settings of several values that are one option, not an option for each value."""
METAVARS = {
    "models": "FOLDER",
    "allow_factories": "MODULES",
    "endpoint_hosts": "HOSTS",
    "endpoint_ca": "FILE",
    "allowed_hosts": "HOST",
    "proxy_hosts": "ADDRESS",
    "declared_groups": "JSON",
    "guard_keys": "IDS",
    "devices": "DEVICES",
    "data_dir": "FOLDER",
    "store": "URL",
    "trusted_keys": "FILE",
    "admin_token": "TOKEN",
    "receipt_keys": "KEY",
    "trace_endpoint": "URL",
}


def read_settings(arguments: Sequence[str] | None = None) -> Settings:
    """The settings of a command line and the environment. Raises ValidationError; a wrong option ends the program."""
    return Settings(**vars(_parser().parse_args(arguments)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m service",
        description="Serve frozen classifiers under fairness triggers that are swapped while traffic flows.",
        epilog=HELP_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    for name, field in Settings.model_fields.items():
        many = field.default == () and name not in WITH_COMMAS
        flag = "--" + (name.removesuffix("s") if many else name).replace("_", "-")
        kind: dict[str, Any] = {"action": "append"} if many else {}
        if field.default is False:
            kind = {"nargs": "?", "const": True}  # the option alone switches it on
        parser.add_argument(flag, dest=name, metavar=_metavar(name, field), help=_help(name, field), **kind)
    return parser


def _metavar(name: str, field: FieldInfo) -> str:
    if field.annotation is bool:
        return "true|false"
    choices = getattr(field.annotation, "__args__", ())
    if choices and all(isinstance(choice, str) for choice in choices):
        return "|".join(choices)
    return METAVARS.get(name, "N" if isinstance(field.default, int | float) else "VALUE")


def _help(name: str, field: FieldInfo) -> str:
    default = "" if field.default in (None, ()) else f" (default {field.default})"
    return f"{field.description}{default}".replace("%", "%%")


def validation_messages(error: ValidationError) -> str:
    """Validation errors as text, one line per option."""
    lines = []
    for found in error.errors(include_url=False):
        name = str(found["loc"][0]) if found["loc"] else ""
        where = f"--{name.replace('_', '-')} ({ENV_PREFIX}{name.upper()}): " if name else ""
        lines.append(where + found["msg"])
    return "\n".join(lines)


def set_up_logging(level: str) -> None:
    """Log everything to standard error, one line per record."""
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain"}},
            "root": {"level": level.upper(), "handlers": ["stderr"]},
            "loggers": {"python_multipart": {"level": "ERROR"}},  # it warns about clients' input
        }
    )
