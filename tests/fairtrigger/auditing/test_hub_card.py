"""The Hugging Face card: metadata that huggingface_hub reads back, and checks as the hub does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import huggingface_hub
import pytest
import yaml
from huggingface_hub import ModelCard, metadata_load
from huggingface_hub.repocard_data import model_index_to_eval_results

from fairtrigger.auditing import audit
from tests.fairtrigger.auditing.decisions import score_rows, write_csv


@pytest.fixture
def card(tmp_path: Path) -> Path:
    rows = score_rows()
    for row in rows:
        row["group"] = row["group"].replace("female", "f | *x*")
    path = write_csv(tmp_path / "my scores.csv", rows)
    audit(path, positive="toxic", model="comments", template="model-card", out=tmp_path / "out")
    return tmp_path / "out" / "model-card.md"


def test_the_metadata_holds_every_figure_and_reads_back(card: Path) -> None:
    document = json.loads((card.parent / "audit.json").read_text())
    metadata: Any = metadata_load(card)
    (index,) = metadata["model-index"]
    assert index["name"] == "comments"
    name, results = model_index_to_eval_results(metadata["model-index"])
    assert name == "comments"
    values = {
        (each.dataset_config, each.metric_type, (each.metric_args or {}).get("group")): each.metric_value
        for each in results
    }
    for version, figures in document["figures"].items():
        assert values[version, "accuracy", None] == figures["overall"]["accuracy"]["value"]
        for gap, facts in figures["gaps"].items():
            assert values[version, gap, None] == facts["value"]
        for group, rates in figures["groups"].items():
            assert values[version, "selection_rate", group] == rates["selection_rate"]["value"]
    loaded = ModelCard.load(card)
    assert loaded.data.eval_results == results
    assert yaml.safe_load(str(loaded.data.to_yaml())) == metadata
    assert "age=old,sex=f | *x*" in {(each.metric_args or {}).get("group") for each in results}
    assert r"old, f \| \*x\*" in loaded.text


class Hub(BaseHTTPRequestHandler):
    """The hub's address for the check of a card; it does not check, but shows what is sent there."""

    def do_POST(self) -> None:
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert isinstance(self.server, Listening)
        self.server.sent.append(sent)
        body = json.dumps({"errors": [], "warnings": []}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


class Listening(HTTPServer):
    """The server and what it got."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Hub)
        self.sent: list[Any] = []


@contextmanager
def hub() -> Iterator[Listening]:
    server = Listening()
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def test_huggingface_hubs_own_validation_takes_the_card(card: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with hub() as server:
        address = f"http://127.0.0.1:{server.server_address[1]}"
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
        monkeypatch.setattr("huggingface_hub.repocard.constants.ENDPOINT", address)
        ModelCard.load(card).validate(repo_type="model")
        huggingface_hub.close_session()
    (sent,) = server.sent
    assert sent["repoType"] == "model" and sent["content"].startswith("---\n")
