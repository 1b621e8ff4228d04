"""The pages of the site, gathered into build/docs: those of docs/, README, its neighbours and an example, links mended.

python docs/stage.py      `make docs` calls it before zensical
"""

from __future__ import annotations

import shutil
from pathlib import Path

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "build" / "docs"
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security-policy.md",
    "examples/dlib-age/README.md": "dlib-age.md",
    "examples/remote/README.md": "remote.md",
    "deploy/helm/fairtrigger/README.md": "helm.md",
}


def from_root(text: str) -> str:
    """A page of the repository's root as a page beside those of docs/."""
    for name, page in PAGES.items():
        text = text.replace(f"]({name}", f"]({page}")
    return text.replace("](../../docs/", "](").replace("](docs/", "](").replace("```bash quickstart", "```bash")


def from_docs(text: str) -> str:
    """A page of docs/ with its links to the other pages."""
    for name, page in PAGES.items():
        text = text.replace(f"](../{name}", f"]({page}")
    return text


def main() -> None:
    """Write the pages anew."""
    shutil.rmtree(TARGET, ignore_errors=True)
    shutil.copytree(
        ROOT / "docs", TARGET, ignore=shutil.ignore_patterns("*.py", "__pycache__", ".ruff_cache", "*.toml")
    )
    for page in TARGET.glob("*.md"):
        page.write_text(from_docs(page.read_text(encoding="utf-8")), encoding="utf-8")
    for name, page in PAGES.items():
        (TARGET / page).write_text(from_root((ROOT / name).read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
