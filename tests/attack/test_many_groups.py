"""As many groups as are counted by name, for four hours: neither the guard nor a scrape takes long for it.

Processor time, of a service that runs in this process, so that a busy machine changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from statistics import median

import httpx
import numpy as np
import pytest

from service.ledger.events import Cell
from service.ledger.ledger import Ledger
from tests.artifacts import artifact_for
from tests.service.live import ADMIN, running, settings, wait_until
from triggers.model.classifier import FrozenClassifier
from triggers.rollout.rollout_plan import Challenger, RolloutPlan
from triggers.store.file_store import FileStore

MINUTES = 240
RULES = {"max_disparity": 0.3, "worse_by": 0.2, "action": "alarm"}


@contextmanager
def after_four_hours(folder: Path, model: FrozenClassifier, groups: int) -> Iterator[tuple[httpx.Client, float]]:
    """A service that finds a challenge of four hours in its store and ledger, a block of rows in every minute.

    And the processor time at which it was started.
    """
    began = int(time.time() // 60) - MINUTES - 2
    draw = np.random.default_rng(groups)
    (folder / "data").mkdir(parents=True)
    chosen = settings(folder, guard=RULES, guard_seconds=0.05)
    with Ledger(folder / "data" / "ledger.sqlite", max_cells=10**6) as ledger:
        for minute, version, group in product(range(began + 1, began + 1 + MINUTES), (1, 2), range(groups)):
            cell = Cell("faces", minute, version, f"g{group}", None, int(draw.integers(2)), None)
            for _ in range(10):
                ledger.count(cell)
    with FileStore(folder / "store", clock=lambda: datetime.fromtimestamp(60 * began, UTC)) as store:
        for seed in (1, 2):
            store.publish(artifact_for(model, "border", seed), actor="test")
        plan = RolloutPlan(1, challenger=Challenger(2, 0.5))
        store.set_rollout("faces", plan, if_revision=0, actor="test", reason="test")
        started = time.process_time()
        with running(chosen, store, [model]) as client:
            yield client, started


def wait_for(client: httpx.Client, sample: str) -> None:
    """Until a metric is there."""

    def there() -> bool:
        time.sleep(0.1)  # the polls are on the same clock
        return sample in client.get("/metrics", headers=ADMIN).text

    wait_until(there, 120)


def seconds_to_scrape(client: httpx.Client) -> float:
    """Processor time of a scrape, usually."""
    taken = []
    for _ in range(15):
        started = time.process_time()
        text = client.get("/metrics", headers=ADMIN).text
        taken.append(time.process_time() - started)
        assert text.count("fairtrigger_guard_e_value{") == 3
    return median(taken)


@pytest.mark.slow
def test_the_guard_and_a_scrape_bear_64_groups(tmp_path: Path, image_model: FrozenClassifier) -> None:
    found = {}
    for groups in (4, 64):
        with after_four_hours(tmp_path / str(groups), image_model, groups) as (client, started):
            wait_for(client, "fairtrigger_guard_e_value{")
            weighed = time.process_time() - started
            wait_for(client, "fairtrigger_fairness_samples{")
            found[groups] = (weighed, seconds_to_scrape(client))
            alarms = client.get("/v1/models/faces/fairness", headers=ADMIN).json()["alarms"]
            assert [(each["blocks"], each["n"]) for each in alarms] == [
                (MINUTES, MINUTES * groups * 10 * versions) for versions in (1, 1, 2)
            ]
    (few_weighed, few_scraped), (weighed, scraped) = found.values()
    assert scraped < 0.1, f"{few_scraped} and {scraped} s"
    assert weighed < 2 + 8 * few_weighed, f"{few_weighed} and {weighed} s"  # there are sixteen times the counts to read
