"""A model behind an address of this machine, for tests that train on it: JSON in, logits or labels out."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeAlias

import torch

from triggers.allow_lists import AllowedHosts
from triggers.model import FrozenClassifier, sweep
from triggers.model.bundle import save_bundle
from triggers.model.endpoint.canary import Canary
from triggers.model.endpoint.endpoint_loader import EndpointLoader
from triggers.model.endpoint.endpoint_network import EndpointNetwork
from triggers.model.endpoint.request_rows import canary_inputs, rows_of
from triggers.preprocessing import TextSpec


class _Server(ThreadingHTTPServer):
    daemon_threads = True


class ScoringServer:
    """Answers rows with `score`; `asked` counts every row as it came; after `most` rows it answers 503."""

    def __init__(self, score: Callable[[list[Any]], list[list[float]]]) -> None:
        self._score, self._lock = score, threading.Lock()
        self.asked: Counter[str] = Counter()
        self.most: int | None = None
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                rows = json.loads(self.rfile.read(int(self.headers["content-length"])))["rows"]
                status, body = server.answer(rows)
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None: ...

        self._http = _Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}/score"

    def answer(self, rows: list[Any]) -> tuple[int, bytes]:
        """Status and body of an answer."""
        with self._lock:
            if self.most is not None and self.asked.total() + len(rows) > self.most:
                return 503, b"{}"
            self.asked.update(json.dumps(row) for row in rows)
            return 200, json.dumps({"scores": self._score(rows)}).encode()

    @contextmanager
    def running(self) -> Iterator[ScoringServer]:
        """The server, from a thread of its own."""
        thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            self._http.shutdown()
            thread.join()
            self._http.server_close()


Score: TypeAlias = Callable[[list[Any]], list[list[float]]]


def image_scores(
    classifier: FrozenClassifier, *, labels_only: bool = False
) -> Callable[[list[Any]], list[list[float]]]:
    """Logits of a classifier for rows of uint8 pixels; or 1 for the decided label and 0 for the others."""

    def score(rows: list[Any]) -> list[list[float]]:
        with torch.inference_mode():
            logits = classifier.image_logits(torch.tensor(rows, dtype=torch.float32) / 255)
        found = torch.nn.functional.one_hot(logits.argmax(dim=1), logits.shape[1]) if labels_only else logits
        table: list[list[float]] = found.tolist()
        return table

    return score


def text_scores(classifier: FrozenClassifier) -> Score:
    """Logits of a classifier for rows of text."""

    def score(rows: list[Any]) -> list[list[float]]:
        batch = classifier.batch([classifier.preprocess(row) for row in rows])
        bank = classifier.bank([classifier.null_trigger()])
        with torch.inference_mode():
            table: list[list[float]] = sweep(classifier, batch, bank)[0].tolist()
        return table

    return score


def endpoint_bundle(folder: Path, url: str, like: FrozenClassifier, items: Sequence[torch.Tensor | str]) -> Path:
    """The bundle of a model at `url` that takes what `like` takes; `items` are its canary's inputs."""
    image = like.spec.image
    loader = EndpointLoader(
        kind="endpoint",
        protocol="json",
        url=url,
        encoding="pixels" if image else "text",
        input={"rows": "$inputs"},
        output="$.scores",
        max_batch=64,
    )
    network, inputs = EndpointNetwork(loader, hosts=AllowedHosts.of_url(url)), canary_inputs(items)
    folder.mkdir(parents=True, exist_ok=True)
    with closing(network.connection):
        Canary(inputs, network(rows_of(inputs, image, loader))).save(folder)
    text = None if image else TextSpec(20_000)
    save_bundle(folder, like.spec.model_copy(update={"loader": loader, "text": text}))
    return folder
