"""`python -m service`: serve model bundles under their triggers."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape

from triggers.errors import FairtriggerError

try:
    from service.config import read_settings, set_up_logging, validation_messages
    from service.workers import exit_now
except ModuleNotFoundError as error:
    sys.exit(f"error: The service needs {error.name}: pip install 'fairtrigger[service]'.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the service until a signal ends it; returns the exit status."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        settings = read_settings(arguments)
        set_up_logging(settings.log_level)
        if settings.http_workers or settings.devices:
            from service.workers import Supervisor

            return Supervisor(settings, sys.argv[1:] if arguments is None else arguments).run()
        from service.app import create_app  # seconds of imports, which --help and a wrong option need not wait for
        from service.server.http_server import bind_admin_listener, serve

        app = create_app(settings)
        return serve(app, settings, console.print, admin_door=bind_admin_listener(settings))
    except ValidationError as error:
        console.print(f"[bold red]error:[/] {escape(validation_messages(error))}")
        return 2
    except FairtriggerError as error:
        console.print(f"[bold red]error:[/] {escape(str(error))}")
        return 2


if __name__ == "__main__":
    exit_now(main())
