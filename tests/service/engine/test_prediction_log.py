"""What one answer, and one label that comes later, add to the counts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.engine.prediction_log import LabelReport, PredictionLog
from service.engine.predictor import Scored
from service.errors import StatisticsOff
from service.ledger.events import PredictionEvent, series_name
from service.ledger.ledger import Ledger
from service.ledger.prediction_id import PredictionIdCodec
from service.ledger.time_buckets import LABEL_DAYS, MINUTES_PER_DAY
from service.telemetry.metrics import Metrics
from tests.service.counted import NEVER
from triggers.errors import InputError
from triggers.model.decision import DecisionRule

LABELS = ("plain", "attractive")
Counts = dict[tuple[int | None, str, int | None, int, int | None], int]


class World:
    """A ledger, and a Counting that adds to it."""

    def __init__(self, ledger: Ledger, on: bool = True) -> None:
        self.ledger, self.metrics, self.receipts = ledger, Metrics(), PredictionIdCodec([b"k" * 32])
        self.counting = PredictionLog("m", LABELS, DecisionRule(1), ledger, self.receipts, self.metrics, on=on)

    def counts(self, role: Any = "serve") -> Counts:
        """(version, group, label, prediction, bare) -> n."""
        return {cell[2:]: n for cell, n in self.ledger.counts(series_name("m", role), 0, 2**31).items()}

    def metric(self, sample: str) -> bool:
        """Whether /metrics would show this line."""
        return sample in self.metrics.render(exact=True)[0].decode().splitlines()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with Ledger(tmp_path / "ledger.sqlite", flush_interval=NEVER) as ledger:
        yield World(ledger)


def answer(*scores: float, version: int | None = 1, bare: tuple[float, ...] | None = None, **more: Any) -> Scored:
    shadows = more.get("shadows", {})
    return Scored(scores, version, None, 3, bare, "champion", shadows)


def told(receipt: str | None, **fields: Any) -> LabelReport:
    assert receipt is not None
    return LabelReport(receipt, **fields)


def test_an_answer_counts_once_with_its_twin_and_its_shadows(world: World) -> None:
    receipt = world.counting.record_prediction(
        answer(0.2, 0.8, bare=(0.9, 0.1), shadows={2: (0.7, 0.3), 5: (0.1, 0.9)}), "f"
    )
    assert world.counts() == {(1, "f", None, 1, 0): 1}
    assert world.counts("shadow") == {(2, "f", None, 0, 0): 1, (5, "f", None, 1, 0): 1}
    assert world.metric('fairtrigger_predictions_total{model="m",version="v1"} 1.0')
    assert world.counts("guard") == {}
    assert receipt is not None
    event = world.receipts.open(receipt, "m")
    assert (event.version, event.prediction, event.bare, event.group, event.trusted) == (1, 1, 0, "f", False)
    assert dict(event.shadows) == {2: 0, 5: 1}


def test_a_label_moves_the_count_and_repeating_it_changes_nothing(world: World) -> None:
    first, second = (world.counting.record_prediction(answer(0.2, 0.8), None) for _ in range(2))
    assert first != second
    for outcome in ("counted", "unchanged"):
        assert [str(each) for each in world.counting.apply_feedback([told(first, label="plain", group="m")])] == [
            outcome
        ]
    assert world.counts() == {(1, "m", 0, 1, None): 1, (1, "unknown", None, 1, None): 1}
    assert [str(each) for each in world.counting.apply_feedback([told(first, label=1)])] == ["corrected"]
    assert world.counts() == {(1, "m", 1, 1, None): 1, (1, "unknown", None, 1, None): 1}


def test_what_cannot_be_used_is_returned_in_its_place(world: World) -> None:
    receipt = world.counting.record_prediction(answer(0.2, 0.8), None)
    oldest = int(time.time() / 60 - LABEL_DAYS * MINUTES_PER_DAY)
    late, just = (world.receipts.seal(PredictionEvent("m", minute, 1, 0)) for minute in (oldest - 1, oldest + 2))
    items = [told("x" * 80, label=0), told(receipt, label=2), told(late, label=0), told(receipt, label="attractive")]
    found = world.counting.apply_feedback([*items, told(just, label=0)])
    codes = [each.code if isinstance(each, InputError) else str(each) for each in found]
    assert codes == ["invalid_prediction_id", "unknown_label", "label_too_late", "counted", "counted"]
    assert isinstance(found[1], InputError) and "0 'plain', 1 'attractive'" in str(found[1])


def test_what_is_trusted_counts_for_the_guard_as_well_labels_too(world: World) -> None:
    trusted, other = (world.counting.record_prediction(answer(0.2, 0.8), "f", trusted=yes) for yes in (True, False))
    world.counting.apply_feedback([told(trusted, label=1), told(other, label=1)], trusted=True)
    assert world.counts() == {(1, "f", 1, 1, None): 2}
    assert world.counts("guard") == {(1, "f", 1, 1, None): 1}
    world.counting.apply_feedback([told(trusted, label=0)])
    assert world.counts() == {(1, "f", 1, 1, None): 1, (1, "f", 0, 1, None): 1}
    assert world.counts("guard") == {(1, "f", 1, 1, None): 1}, "a label of a key that it does not trust"


def test_a_service_that_counts_nothing_says_so(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.sqlite", flush_interval=NEVER) as ledger:
        world = World(ledger, on=False)
        assert world.counting.record_prediction(answer(0.2, 0.8), "f") is None and world.counts() == {}
        with pytest.raises(StatisticsOff, match="start it with statistics=on"):
            world.counting.apply_feedback([])
