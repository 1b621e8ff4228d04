"""The notebooks of the documentation: they run, and their pages are of what stands in them."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError

from docs.notebook_pages import FOLDER, executed, page_cell, write_page

NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
PICTURE_BYTES = 100_000


def names(paths: list[Path]) -> list[str]:
    return [path.stem for path in paths]


def shown(page: str) -> list[str]:
    """The files of a page's pictures."""
    return re.findall(r"^!\[[^\]]{20,}\]\((.+)\)$", page, re.MULTILINE)


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=names(NOTEBOOKS))
def test_a_notebook_runs_without_a_warning_and_shows_what_its_page_shows(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / path.name
    notebook = executed(path)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert not [output.text for output in outputs if output.get("name") == "stderr"]
    write_page(copy, notebook)
    page = copy.with_suffix(".md").read_text()
    assert shown(page) == shown(path.with_suffix(".md").read_text()) and "Traceback" not in page
    for picture in shown(page):
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")


def test_pages_are_of_the_notebooks_which_are_kept_without_outputs() -> None:
    assert len(NOTEBOOKS) == 3
    kept = {picture.name for picture in FOLDER.glob("*.png")}
    for path in NOTEBOOKS:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)
        page = path.with_suffix(".md").read_text()
        places = [page.find(page_cell(cell)) for cell in notebook.cells]
        assert -1 not in places and places == sorted(places), f"{path.name} was changed: make notebooks"
        kept -= set(shown(page))
        assert all((FOLDER / picture).stat().st_size < PICTURE_BYTES for picture in shown(page))
    assert not kept, "pictures that no page shows"


@pytest.mark.process
def test_a_cell_that_fails_fails_the_notebook_and_outputs_become_markdown(tmp_path: Path) -> None:
    table = '<style>td {}</style><div><table class="dataframe"><tr style="a"><td>1</td></tr></table></div>'
    source = f"""
from IPython.display import HTML, Markdown, display
from PIL import Image
display(Markdown("*so*"), HTML({table!r}))
print("said")
Image.new("RGB", (2, 2))
"""
    cell = nbformat.v4.new_code_cell(source, metadata={"alt": "a black square"})
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Title"), cell])
    path = tmp_path / "one.ipynb"
    (tmp_path / "one-2.png").write_bytes(b"of an earlier run")
    nbformat.write(notebook, path)
    write_page(path, executed(path))
    page = path.with_suffix(".md").read_text()
    shown_parts = "*so*\n\n<table><tr><td>1</td></tr></table>\n\n```text\nsaid\n```\n\n![a black square](one-1.png)\n\n"
    assert page.startswith(f"# Title\n\n```python\n{source}\n```\n\n{shown_parts}")
    assert [picture.name for picture in tmp_path.glob("*.png")] == ["one-1.png"]
    cell.source = "1 / 0"
    nbformat.write(notebook, path)
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        executed(path)
