"""Small versions of `benchmarks.life`: overload, and clients that leave, against a real process of known capacity."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.life import Service, cancel, overload, started
from benchmarks.life_models import sleeping_bundle

pytestmark = pytest.mark.soak
LIMITS = ("--max-batch", "4", "--queue-size", "24", "--max-items-per-request", "8", "--drain-seconds", "0")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    tmp = tmp_path_factory.mktemp("life")
    with started(tmp, sleeping_bundle(tmp / "faces", 0.1), *LIMITS) as running:
        yield running


def test_three_times_overload_leaves_the_capacity_to_those_who_were_let_in(service: Service) -> None:
    found = overload(service, 3.0, 3.0)
    assert 0 < found.capacity <= 40  # four rows every tenth of a second
    assert found.goodput >= 0.8 * found.capacity
    assert len(found.told) > found.goodput and not found.other
    assert found.told[len(found.told) // 2] < 0.1, "the excess is told at once, whatever the queue holds"
    assert set(found.retry_after) == {1}, "24 rows in work at 40 rows a second"


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Service]:
    with started(tmp_path, sleeping_bundle(tmp_path / "faces", 2.0), "--drain-seconds", "0") as running:
        yield running


def test_clients_that_leave_are_not_computed(slow: Service) -> None:
    found = cancel(slow, 60, 20)
    assert (found.left, found.seen, found.computed) == (60, 60, 0)
    assert "Traceback" not in slow.log.read_text()
