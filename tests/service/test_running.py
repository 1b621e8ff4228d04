"""A service's life: building it touches nothing, opening it fails without a trace, and a stop tries every step."""

from __future__ import annotations

import asyncio
import logging
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from service.app import create_app
from service.event import Cell
from service.ledger import Ledger
from service.receipts import new_key
from service.running import LEDGER_FILE
from tests.bundles import image_bundle
from tests.service.live import picture, process, settings
from triggers.classifier import FrozenClassifier
from triggers.errors import StoreUnavailable
from triggers.file_store import FileStore

CELL = Cell("faces", int(time.time() // 60), 1, "a", None, 1, None)


def built(tmp: Path, model: FrozenClassifier, **change: Any) -> FastAPI:
    return create_app(settings(tmp, store=str(tmp / "store"), **change), classifiers=[model])


def test_an_app_that_is_never_started_leaves_nothing_behind(tmp_path: Path, image_model: FrozenClassifier) -> None:
    before = set(threading.enumerate())
    app = built(tmp_path, image_model, trace_endpoint="http://127.0.0.1:9/v1/traces")
    assert "/v1/models/{model}/predict" in app.openapi()["paths"]
    assert list(tmp_path.iterdir()) == [] and set(threading.enumerate()) == before
    nowhere = "redis://127.0.0.1:9/0"
    create_app(settings(tmp_path, store=nowhere, ledger=nowhere, receipt_keys=(new_key(),)), classifiers=[image_model])


def test_a_service_that_cannot_be_opened_holds_nothing_open(tmp_path: Path, image_model: FrozenClassifier) -> None:
    before = set(threading.enumerate())
    running = built(tmp_path, image_model).state.running
    (tmp_path / "data" / LEDGER_FILE).mkdir(parents=True)
    with pytest.raises(StoreUnavailable):
        running.open()
    assert set(threading.enumerate()) == before
    with pytest.raises(StoreUnavailable):
        running.store.versions("faces")  # closed again
    asyncio.run(running.close())
    (tmp_path / "data" / LEDGER_FILE).rmdir()
    running.open()
    asyncio.run(running.close())
    assert running.shutdown.failed == []


def stopped(app: FastAPI, spoil: Callable[[Any], None]) -> None:
    """Let an app live; `spoil` gets its Running just before it is told to stop."""

    async def live() -> None:
        async with app.router.lifespan_context(app):
            app.state.running.ledger.count(CELL)
            spoil(app.state.running)

    asyncio.run(live())


def kept(tmp: Path) -> int:
    """What the ledger's file says was counted."""
    with Ledger(tmp / "data" / LEDGER_FILE) as ledger:
        return sum(ledger.counts("faces", CELL.minute, CELL.minute + 1).values())


def failing(step: Callable[[], object]) -> Callable[[], None]:
    """The step, which then raises."""

    def fails() -> None:
        step()
        raise LookupError("a step that breaks")

    return fails


def test_every_step_of_a_stop_is_tried_whatever_the_others_raise(
    tmp_path: Path, image_model: FrozenClassifier, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    app = built(tmp_path, image_model)

    def spoil(running: Any) -> None:
        model = running.models["faces"]
        monkeypatch.setattr(running.guard, "stop", failing(running.guard.stop))
        monkeypatch.setattr(model.follower, "stop", failing(model.follower.stop))
        monkeypatch.setattr(running.store, "close", failing(running.store.close))
        real = model.batcher.close

        async def close() -> None:
            await real()
            failing(list)()

        monkeypatch.setattr(model.batcher, "close", close)

    with caplog.at_level(logging.ERROR):
        stopped(app, spoil)
    tried = ["the guard", "the queue of faces", "the rollout of faces", "the store"]
    assert app.state.running.shutdown.failed == tried
    assert caplog.text.count("LookupError: a step that breaks") == len(tried)
    assert kept(tmp_path) == 1


def test_counts_are_written_before_anything_else_is_ended(
    tmp_path: Path, image_model: FrozenClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, seen = built(tmp_path, image_model, flush_seconds=60), list[int]()
    stopped(app, lambda running: monkeypatch.setattr(running.guard, "stop", lambda: seen.append(kept(tmp_path))))
    assert seen == [1] and kept(tmp_path) == 1
    assert app.state.running.shutdown.failed == []


@pytest.mark.slow
def test_the_exit_status_tells_that_counts_could_not_be_written(tmp_path: Path) -> None:
    bundle = image_bundle(tmp_path / "bundle")
    with FileStore(tmp_path / "store"), process(tmp_path, [bundle], http_workers=1, flush_seconds=60) as service:
        found = service.client.post(
            "/v1/models/faces/predict", content=picture(1), headers={"Content-Type": "image/png"}
        )
        assert found.status_code == 200
        shutil.rmtree(tmp_path / "data")
        assert service.stop(signal.SIGTERM) == 1
        assert "The stop goes on without the counts" in service.log.read_text()
