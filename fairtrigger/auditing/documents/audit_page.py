"""An audit as one HTML file without scripts or links to other files. Needs jinja2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fairtrigger.auditing.documents.audit_sections import page_sections, page_title
from triggers.errors import ConfigError

NEEDS_EXTRA = "Pages need the extra: pip install 'fairtrigger[audit]'."


def render_audit(document: Mapping[str, Any]) -> str:
    """The whole page; everything in it is escaped. Raises ConfigError without jinja2."""
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise ConfigError(NEEDS_EXTRA) from error
    environment = Environment(
        loader=PackageLoader("fairtrigger.auditing.documents"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, _, _ = environment.loader.get_source(environment, "audit.css")  # type: ignore[union-attr]
    sections = page_sections(document)
    return environment.get_template("audit.html").render(
        document=document, title=page_title(document), sections=sections, style=style
    )
