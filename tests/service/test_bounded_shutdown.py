"""A stop keeps to its time, whatever hangs: each step is bounded, and a service whose Redis cannot be found ends."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from pathlib import Path

import pytest

from service.app import create_app
from service.process_lifecycle import run_bounded
from tests.bundles import image_bundle
from tests.service.live import settings
from triggers.errors import StoreUnavailable
from triggers.model import load_bundle
from triggers.store.file_store import FileStore


def test_a_step_that_ends_is_waited_for() -> None:
    done: list[int] = []

    def step() -> None:
        time.sleep(0.05)
        done.append(1)

    asyncio.run(run_bounded("a step", step, 5))
    assert done


def test_what_a_step_raises_is_raised() -> None:
    def fails() -> None:
        raise StoreUnavailable("gone")

    with pytest.raises(StoreUnavailable, match="gone"):
        asyncio.run(run_bounded("a step", fails))


def test_a_step_that_hangs_is_left_behind(caplog: pytest.LogCaptureFixture) -> None:
    free, started = threading.Event(), time.monotonic()
    asyncio.run(run_bounded("the last counts", lambda: free.wait(20), 0.1))
    assert time.monotonic() - started < 5
    assert "does not wait for the last counts" in caplog.text
    free.set()


def test_a_service_stops_though_its_rollout_and_counts_hang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("service.process_lifecycle.STEP_SECONDS", 0.1)
    monkeypatch.setattr("service.runtime.COUNTS_SECONDS", 0.1)
    free = threading.Event()
    with FileStore(tmp_path / "store") as store, caplog.at_level(logging.ERROR):
        app = create_app(settings(tmp_path), store, [load_bundle(image_bundle(tmp_path / "model"))])
        running = app.state.running
        running.open()
        ended = running.ledger.close
        monkeypatch.setattr(running.ledger, "close", lambda: free.wait(20))

        async def live() -> float:
            async with app.router.lifespan_context(app):
                started = time.monotonic()
            return time.monotonic() - started

        assert asyncio.run(live()) < 5
        free.set()
        ended()
    assert "does not wait for the last counts" in caplog.text
