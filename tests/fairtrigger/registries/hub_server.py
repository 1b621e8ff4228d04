"""A small real hub for tests: the routes of a Hugging Face hub that pushes and pulls of triggers use, over HTTP."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from huggingface_hub import ModelCard, ModelCardData

from tests.service.live import wait_until


@dataclass
class Hub:
    """Files by repository and path; `commits` are the paths of each, `private` the repositories made so."""

    url: str = ""
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    commits: list[list[str]] = field(default_factory=list)
    private: list[str] = field(default_factory=list)

    def app(self) -> FastAPI:
        """The routes."""
        app, models = FastAPI(), "/api/models/{owner}/{repo}"
        app.add_api_route("/api/repos/create", self.create, methods=["POST"])
        app.add_api_route("/api/validate-yaml", self.validate_card, methods=["POST"])
        app.add_api_route(f"{models}/tree/main", self.tree, response_model=None)
        app.add_api_route(f"{models}/paths-info/main", self.paths_info, methods=["POST"], response_model=None)
        app.add_api_route(f"{models}/preupload/main", self.preupload, methods=["POST"])
        app.add_api_route(f"{models}/commit/main", self.commit, methods=["POST"])
        app.add_api_route("/{owner}/{repo}/resolve/main/{path:path}", self.resolve, methods=["GET", "HEAD"])
        return app

    async def create(self, request: Request) -> dict[str, str]:
        """Make a repository, or find it."""
        told = await request.json()
        name = f"{told['organization']}/{told['name']}"
        self.files.setdefault(name, {})
        if told.get("private") or told.get("visibility") == "private":
            self.private.append(name)
        return {"url": f"{self.url}/{name}"}

    async def validate_card(self, request: Request) -> dict[str, list[str]]:
        """What is wrong with a card's metadata: nothing, if it names its library and results can be read."""
        read = ModelCard((await request.json())["content"])
        data = read.data
        named = "library_name: fairtrigger" in str(data) and isinstance(data, ModelCardData) and data.eval_results
        return {"errors": [] if named else ["no library or no results"], "warnings": []}

    async def tree(self, owner: str, repo: str) -> list[dict[str, Any]] | Response:
        """All files."""
        name = f"{owner}/{repo}"
        return [self._listed(name, path) for path in self.files[name]] if name in self.files else _missing("Repo")

    async def paths_info(self, owner: str, repo: str, request: Request) -> list[dict[str, Any]] | Response:
        """Some files."""
        name = f"{owner}/{repo}"
        if name not in self.files:
            return _missing("Repo")
        asked = [str(path) for path in (await request.form()).getlist("paths")]
        return [self._listed(name, path) for path in asked if path in self.files[name]]

    async def preupload(self, request: Request) -> dict[str, Any]:
        """How files come: within the commit."""
        told = await request.json()
        return {
            "files": [{"path": one["path"], "uploadMode": "regular", "shouldIgnore": False} for one in told["files"]]
        }

    async def commit(self, owner: str, repo: str, request: Request) -> dict[str, Any]:
        """Add files."""
        lines = [json.loads(line) for line in (await request.body()).splitlines() if line]
        added = {one["value"]["path"]: one["value"] for one in lines if one["key"] == "file"}
        for path, value in added.items():
            assert value["encoding"] == "base64"
            self.files[f"{owner}/{repo}"][path] = base64.b64decode(value["content"])
        self.commits.append(sorted(added))
        oid = f"{len(self.commits):040}"
        return {"success": True, "commitUrl": f"{self.url}/{owner}/{repo}/commit/{oid}", "commitOid": oid}

    async def resolve(self, owner: str, repo: str, path: str) -> Response:
        """A file."""
        data = self.files[f"{owner}/{repo}"].get(path)
        if data is None:
            return _missing("Entry")
        etag, commit = hashlib.sha1(data).hexdigest(), f"{len(self.commits):040}"
        return Response(data, headers={"ETag": f'"{etag}"', "X-Repo-Commit": commit})

    def _listed(self, name: str, path: str) -> dict[str, Any]:
        data = self.files[name][path]
        return {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}


def _missing(what: str) -> Response:
    return Response(status_code=404, headers={"X-Error-Code": f"{what}NotFound", "X-Error-Message": "Not there"})


@contextmanager
def running_hub() -> Iterator[Hub]:
    """Serve while the block runs."""
    hub = Hub()
    server = uvicorn.Server(uvicorn.Config(hub.app(), log_level="error", access_log=False))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        hub.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        wait_until(lambda: server.started)
        yield hub
        server.should_exit = True
        thread.join(10)
