"""The notebooks of docs/notebooks/, executed, as pages: Markdown beside each with its outputs, pictures as PNG files.

python docs/notebook_pages.py [NAME ...]      `make notebooks` calls it for all; the pages are committed

A cell that shows a picture says in its metadata what can be seen: `alt`.
"""

from __future__ import annotations

import base64
import os
import re
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from traitlets.config import Config

FOLDER = Path(__file__).parent / "notebooks"
CELL_SECONDS = 240


def main(names: list[str]) -> None:
    """Write the pages of these notebooks, or of all."""
    for path in sorted(FOLDER.glob("*.ipynb")):
        if not names or path.stem in names:
            write_page(path, executed(path))


def executed(path: Path) -> NotebookNode:
    """A notebook with the outputs of a run in an empty folder. Raises nbclient's CellExecutionError."""
    notebook: NotebookNode = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        config = Config(KernelManager={"transport": "ipc", "connection_file": f"{folder}/kernel.json"})
        client = NotebookClient(notebook, timeout=CELL_SECONDS, config=config)
        client.execute(cwd=folder, env=os.environ | {"IPYTHONDIR": folder, "TMPDIR": folder})
    return notebook


def write_page(path: Path, notebook: NotebookNode) -> None:
    """The page of an executed notebook, beside it; pictures of an earlier page are removed."""
    for old in path.parent.glob(f"{path.stem}-*.png"):
        old.unlink()
    parts: list[str] = []
    pictures = 0
    for cell in notebook.cells:
        parts.append(page_cell(cell))
        for output in cell.get("outputs", ()):
            picture = output.get("data", {}).get("image/png")
            if picture is None:
                parts.append(page_output(output))
                continue
            pictures += 1
            file = path.with_name(f"{path.stem}-{pictures}.png")
            file.write_bytes(base64.b64decode(picture))
            parts.append(f"![{cell.metadata.alt}]({file.name})")
    parts.append(f"*This page is [a notebook]({path.name}), executed.*")
    path.with_suffix(".md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def page_cell(cell: NotebookNode) -> str:
    """A cell's own text or code."""
    source: str = cell.source
    return source if cell.cell_type == "markdown" else f"```python\n{source}\n```"


def page_output(output: NotebookNode) -> str:
    """What a cell printed or returned: Markdown as it is, a data frame as a plain table, all else as text."""
    data = output.get("data", {})
    if "text/markdown" in data:
        return str(data["text/markdown"])
    table = re.search(r"<table.*</table>", data.get("text/html", ""), re.DOTALL)
    if table:
        return re.sub(r"<(table|tr)\b[^>]*>", r"<\1>", table[0])
    text: str = output.text if output.output_type == "stream" else data["text/plain"]
    return f"```text\n{text.rstrip()}\n```"


if __name__ == "__main__":
    main(sys.argv[1:])
