"""The static files of the dashboard: those in static/, and plotly's script from the installed package."""

from __future__ import annotations

from pathlib import Path

from service.api.static_files import StaticFile, package_file, static_file

STATIC_FOLDER = Path(__file__).parent / "static"
PAGE, WITHOUT_PLOTLY, PLOTLY = "index.html", "install.html", "plotly.min.js"


def find_file(name: str) -> StaticFile | None:
    """A file by its name; None for an unknown name, and for plotly where it is not installed."""
    own = {each.name: each for each in STATIC_FOLDER.iterdir()}
    return static_file(plotly_script() if name == PLOTLY else own.get(name))


def plotly_script() -> Path | None:
    """Path of the installed plotly's script; None without the extra `dashboard`."""
    return package_file("plotly", f"package_data/{PLOTLY}")
