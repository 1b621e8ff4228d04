"""The API reference as HTML without scripts: every operation of the OpenAPI document, its role and its fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

OPERATION_METHODS = ("get", "put", "post", "delete", "patch")


def plain_page(document: Mapping[str, Any]) -> str:
    """HTML of an OpenAPI document; everything in it is escaped."""
    info = document["info"]
    title = escape(f"{info['title']} {info['version']}")
    sections = "\n".join(_operations(document["paths"]))
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>
<body><h1>{title}</h1>
<p>For programs: <a href="openapi.json">openapi.json</a>. Tools that draw it can be pointed there.</p>
{sections}
</body></html>
"""


def _operations(paths: Mapping[str, Any]) -> Iterator[str]:
    for path, operations in paths.items():
        for method in (each for each in OPERATION_METHODS if each in operations):
            operation = operations[method]
            yield f"<h2><code>{method.upper()} {escape(path)}</code></h2>"
            yield f"<p>{escape(operation.get('summary', ''))}. Needs: {escape(operation.get('x-role', 'nothing'))}.</p>"
            yield f"<pre>{escape(operation.get('description', ''))}</pre>"
            if rows := "".join(map(_parameter, operation.get("parameters", []))):
                yield f"<ul>{rows}</ul>"


def _parameter(parameter: Mapping[str, Any]) -> str:
    name, place = escape(parameter["name"]), escape(parameter["in"])
    return f"<li><code>{name}</code> ({place}) {escape(parameter.get('description', ''))}</li>"
