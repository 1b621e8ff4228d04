"""The guard over a real service, store and ledger; only its clock runs ahead."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn

from service.guard.guard import Guard
from service.guard.observations import MINUTES_AT_ONCE, ReadCounts
from service.ledger.events import Cell, Feedback, PredictionEvent
from service.ledger.time_buckets import Level
from service.runtime import ServiceRuntime
from tests.artifacts import artifact_for
from tests.service.live import ADMIN, decided, picture, predict, running, settings, swap, wait_until
from triggers.model.classifier import FrozenClassifier
from triggers.store.file_store import FileStore

SEAL_SECONDS = 15.0
RULES = {"max_disparity": 0.1, "worse_by": 0.1, "alpha": 0.05}


@dataclass
class Ahead:
    """A service with a guard whose clock can be moved, and what the guard told."""

    client: httpx.Client
    service: ServiceRuntime
    guard: Guard
    now: float
    told: list[dict[str, Any]] = field(default_factory=list)

    def pass_minutes(self, minutes: int, rates: dict[str, float], version: int, rows: int = 60) -> None:
        """Count predictions of a version in minutes to come, and let these pass."""
        random = np.random.default_rng([version, minutes])  # not of the clock: the same rows at any time of day
        first = int(self.now // 60) + 1
        for minute in range(first, first + minutes):
            for group, rate in rates.items():
                for _ in range(rows):
                    h = int(random.random() < rate)
                    self.service.ledger.record(PredictionEvent("faces", minute, version, h, group, 0))
        self.now = 60.0 * (first + minutes) + SEAL_SECONDS


@pytest.fixture
def ahead(tmp_path: Path, image_model: FrozenClassifier, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ahead]:
    kept: list[ServiceRuntime] = []
    config = uvicorn.Config

    def remember(app: Any, **options: Any) -> uvicorn.Config:
        kept.append(app.state.running)
        return config(app, **options)

    monkeypatch.setattr(uvicorn, "Config", remember)
    with FileStore(tmp_path / "store") as store:
        for seed in (1, 2):
            store.publish(artifact_for(image_model, "border", seed), actor="test")
        chosen = settings(tmp_path, guard=RULES, guard_seconds=3600)
        with running(chosen, store, [image_model]) as client:
            service = kept[0]
            watched = service.guard._models
            found = Ahead(client, service, None, 0.0)  # type: ignore[arg-type]
            clock = {"clock": lambda: found.now, "seal_seconds": SEAL_SECONDS, "every_seconds": 3600}
            found.guard = Guard(watched, service.ledger.series, on_alarm=found.told.append, **clock)  # type: ignore[arg-type]
            for version in ("v1", "v2"):
                assert decided(client, "faces", champion=version, twin_share=0.5).status_code == 200
            found.now = watched["faces"].serving_state().since
            yield found


def _stamp(minute: int) -> str:
    return datetime.fromtimestamp(minute * 60, UTC).isoformat()


FAIR, BIASED = {"f": 0.4, "m": 0.4}, {"f": 0.3, "m": 0.7}


def test_a_biased_champion_is_rolled_back_with_the_evidence(ahead: Ahead) -> None:
    ahead.pass_minutes(5, BIASED, version=2)
    ahead.guard.check("faces")
    assert ahead.client.get("/v1/models/faces/rollout").json()["champion"] == "v1"
    entry = ahead.client.get("/v1/models/faces/history", headers=ADMIN).json()["entries"][0]
    assert (entry["actor"], entry["from"], entry["to"]) == ("guard", 2, 1)
    evidence, counts = json.loads(entry["detail"]["evidence"]), json.loads(entry["detail"]["counts"])
    assert evidence["test"] == "disparity_above_limit" and evidence["alpha"] == 0.05
    assert evidence["peak"] >= evidence["threshold"] and set(counts["v2"]["selection_rate"]) == {"f", "m"}
    assert float(entry["detail"]["e_value"]) == evidence["peak"] and "threshold 40" in entry["reason"]
    (alarm,) = ahead.told
    assert (alarm["model"], alarm["version"], alarm["done"]) == ("faces", "v2", "rolled back to v1")
    assert "counts" not in alarm
    assert predict(ahead.client, "faces", [picture(1)])[0]["trigger"]["version"] == 1


@pytest.mark.parametrize("by", ["twins", "labels"])
@pytest.mark.parametrize("harmful", [True, False])
def test_a_version_observed_elsewhere_as_harmful_is_withdrawn(ahead: Ahead, by: str, harmful: bool) -> None:
    """All is told over HTTP, each request twice; the other system learns of it by asking for the rollout."""
    path, draw = "/v1/models/faces/rollout", np.random.default_rng(7)
    rules = {"twins": {"worse_by": 0.1}, "labels": {"metric": "equal_opportunity_difference", "max_disparity": 0.1}}
    assert decided(ahead.client, "faces", champion="v2", twin_share=0.5, guard=rules[by]).status_code == 200
    etag = ahead.client.get(path).headers["etag"]
    ahead.now = ahead.guard._models["faces"].serving_state().since
    ahead.service.ledger._clock = lambda: ahead.now  # labels arrive by this clock
    first = int(ahead.now // 60) + 1
    for minute in range(first, first + 4):
        ahead.now = minute * 60.0
        told = []
        for group, rate in (BIASED if harmful else FAIR).items():
            for n in range(150):
                twin, selected = draw.random(2) < (0.4, rate)
                known = {"baseline_prediction": int(twin)} if by == "twins" else {"label": 1}
                fields = {"version": "v2", "prediction": int(selected), "group": group, "time": _stamp(minute)}
                told.append({"observation_id": f"{minute}-{group}-{n}", **fields, **known})
        for status in ("counted", "counted_before"):
            results = ahead.client.post("/v1/models/faces/observations", json=told).json()["results"]
            assert [each["status"] for each in results] == [status] * len(told)
    ahead.now = 60.0 * (first + 4) + SEAL_SECONDS
    (found,) = ahead.guard.check("faces")
    assert (found.n, found.fired) == (1200, harmful)
    answer = ahead.client.get(path)
    assert (answer.json()["champion"], answer.headers["etag"] == etag) == (("v1", False) if harmful else ("v2", True))


def test_a_biased_challenger_is_rolled_back_and_the_champion_goes_on(ahead: Ahead) -> None:
    challenger = {"version": "v1", "share": 0.5}
    guard = {"worse_by": 0.05, "attributes": ["sex"]}
    assert decided(ahead.client, "faces", champion="v2", challenger=challenger, guard=guard).status_code == 200
    ahead.now = ahead.guard._models["faces"].serving_state().since
    ahead.pass_minutes(6, {"sex=f,age=old": 0.4, "sex=m": 0.4}, version=2)
    ahead.now -= 6 * 60
    ahead.pass_minutes(6, {"sex=f,age=old": 0.3, "sex=m": 0.7}, version=1)
    (found,) = ahead.guard.check("faces")
    assert found.fired and found.hypothesis.against == 2
    rollout = ahead.client.get("/v1/models/faces/rollout").json()
    assert (rollout["champion"], rollout["challenger"], rollout["guard"]) == ("v2", None, guard)
    entry = ahead.client.get("/v1/models/faces/history", headers=ADMIN).json()["entries"][0]
    assert (entry["actor"], entry["action"]) == ("guard", "adjust")
    assert set(json.loads(entry["detail"]["counts"])) == {"v1", "v2"}
    assert ahead.told[0]["done"] == "challenger v1 rolled back"


def test_what_was_taken_out_of_service_is_not_returned_to(ahead: Ahead) -> None:
    for version, expected in ((2, "v1"), (1, None)):
        ahead.pass_minutes(5, BIASED, version=version)
        ahead.guard.check("faces")
        assert ahead.client.get("/v1/models/faces/rollout").json()["champion"] == expected
        ahead.now = ahead.guard._models["faces"].serving_state().since


def test_a_champion_that_is_refused_by_now_is_passed_over(ahead: Ahead) -> None:
    """A version that harms must not go on because the one before it may not answer any more."""
    ahead.service.models["faces"].controller._require_certified = True  # and none of the versions is
    ahead.pass_minutes(5, BIASED, version=2)
    ahead.guard.check("faces")
    assert ahead.client.get("/v1/models/faces/rollout").json()["champion"] is None
    assert ahead.told[0]["done"] == "rolled back to none"
    done, refused = ahead.client.get("/v1/models/faces/history", headers=ADMIN).json()["entries"][:2]
    assert (done["actor"], refused["actor"]) == ("guard", "guard")
    assert (refused["action"], refused["to"]) == ("refuse", 1) and "Only certified triggers" in refused["reason"]


def test_a_guard_that_cannot_be_is_refused(ahead: Ahead) -> None:
    refused = decided(ahead.client, "faces", champion="v2", guard={"max_disparity": 2})
    assert refused.status_code == 422 and "max_disparity is 2" in refused.text


def test_only_operators_see_what_depends_on_single_predictions(ahead: Ahead) -> None:
    ahead.pass_minutes(5, FAIR, version=2)
    ahead.guard.check("faces")
    ahead.service.guard._watches = ahead.guard._watches
    path = "/v1/models/faces/fairness"
    public, operator = (ahead.client.get(path, headers=headers).json()["alarms"] for headers in ({}, ADMIN))
    assert set(operator[0]) - set(public[0]) == {"e_value", "peak", "blocks", "n", "since", "until", "counts"}
    assert (public[0]["fired"], public[0]["threshold"], public[0]["version"]) == (False, 40.0, "v2")
    metrics = ahead.client.get("/metrics").text
    assert 'fairtrigger_guard_threshold{model="faces",test="disparity_above_limit",version="v2"} 40.0' in metrics


def test_a_scrape_waits_for_no_ledger_and_changes_nothing(ahead: Ahead, monkeypatch: pytest.MonkeyPatch) -> None:
    freed, readers = threading.Event(), set[str]()

    def hang(*_: Any, **__: Any) -> dict[Cell, int]:
        readers.add(threading.current_thread().name)
        freed.wait(20)
        return {}

    for name in ("counts", "series", "releases", "release"):
        monkeypatch.setattr(ahead.service.ledger, name, hang)
    started = time.monotonic()
    try:
        assert "fairtrigger_queue_depth" in ahead.client.get("/metrics").text
        assert time.monotonic() - started < 5
        wait_until(lambda: readers)
    finally:
        freed.set()
    assert readers == {"reading fairness for the metrics"}


def test_a_fair_champion_stays(ahead: Ahead) -> None:
    ahead.pass_minutes(30, FAIR, version=2)
    found = ahead.guard.check("faces")
    assert len(found) == 2 and not any(each.fired for each in found) and found[0].blocks == 30
    assert ahead.client.get("/v1/models/faces/rollout").json()["champion"] == "v2"
    assert ahead.told == []


def test_only_sealed_minutes_since_the_swap_count(ahead: Ahead) -> None:
    ahead.service.ledger.record(PredictionEvent("faces", int(ahead.now // 60), 2, 1, "f"))
    ahead.pass_minutes(3, FAIR, version=2)
    ahead.now -= 1
    assert [each.blocks for each in ahead.guard.check("faces")] == [2, 2]  # the third minute may still be counted
    ahead.now += 1
    assert [each.blocks for each in ahead.guard.check("faces")] == [3, 3]


def test_a_label_counts_once_and_however_late_it_comes(ahead: Ahead) -> None:
    ahead.service.ledger._clock = lambda: ahead.now
    rules = {"metric": "equal_opportunity_difference", "max_disparity": 0.1, "action": "alarm"}
    before = [PredictionEvent("faces", int(ahead.now // 60), 2, 1, "f") for _ in range(50)]
    assert decided(ahead.client, "faces", champion="v2", guard=rules).status_code == 200
    ahead.now = ahead.guard._models["faces"].serving_state().since
    first, hits = int(ahead.now // 60) + 1, {"f": 0, "m": 1}
    made = [PredictionEvent("faces", first + i % 5, 2, hits[g], g) for i in range(300) for g in hits]
    for event in before + made:
        ahead.service.ledger.record(event)
    ahead.now = (first + 5) * 60 + SEAL_SECONDS
    (waiting,) = ahead.guard.check("faces")
    assert (waiting.n, waiting.fired) == (0, False)
    for minutes, labelled in ((20, made[:400] + before), (40, made[200:]), (60, [])):
        ahead.now = (first + minutes) * 60.0
        ahead.service.ledger.feedback([Feedback(event, 1) for event in labelled])
    ahead.now += SEAL_SECONDS
    (found,) = ahead.guard.check("faces")
    assert found.fired and found.n == 600 and (found.since, found.until) == (first + 20, first + 41)
    ahead.service.ledger.feedback([Feedback(event, 0) for event in made])  # corrections were used already
    ahead.now += 120
    assert ahead.guard.check("faces")[0].n == 600 and len(ahead.told) == 1


def test_after_a_day_minutes_are_kept_by_tens_and_none_is_lost(ahead: Ahead) -> None:
    first = int(ahead.now // 60) + 1
    for age in (0, 1439, 1440, 1449, 1450, 1459, 1460):
        for group in ("f", "m"):
            for _ in range(20):
                ahead.service.ledger.record(PredictionEvent("faces", first + age, 2, 1, group, 0))
    for age, blocks in ((1441, 2), (1459, 3), (1461, 4), (1471, 5)):
        ahead.now = (first + age) * 60 + SEAL_SECONDS
        found = ahead.guard.check("faces")[0]
        assert found.blocks == blocks
    assert found.n == 7 * 40


@dataclass
class Reader:
    """What a guard reads with, and notes of which threads asked, and for how many minutes at once."""

    read: ReadCounts
    threads: set[str] = field(default_factory=set)
    spans: list[int] = field(default_factory=list)

    def __call__(
        self, model: str, level: Level, since_minute: int, until_minute: int, made_since: int = 0
    ) -> Mapping[Cell, int]:
        self.threads.add(threading.current_thread().name)
        self.spans.append(until_minute - since_minute)
        return self.read(model, level, since_minute, until_minute, made_since)


def test_a_guard_beside_another_weighs_in_the_background_and_leaves_acting_to_it(ahead: Ahead) -> None:
    reader = Reader(ahead.service.ledger.series)
    beside = Guard(
        ahead.guard._models, reader, clock=lambda: ahead.now, acts=False, every_seconds=0.02, seal_seconds=SEAL_SECONDS,
        on_alarm=ahead.told.append,
    )  # fmt: skip
    ahead.pass_minutes(5, BIASED, version=2)
    assert beside.evidence_report("faces") == [] and list(beside.evidence("faces")) == []  # who asks does not weigh
    beside.start()
    try:
        wait_until(lambda: [each["fired"] for each in beside.evidence_report("faces")] == [True, True])
        assert [each.fired for each in beside.evidence("faces")] == [True, True]
    finally:
        beside.stop()
    assert reader.threads == {"guard"}
    assert ahead.told == [] and not beside._thread.is_alive()
    assert ahead.client.get("/v1/models/faces/rollout").json()["champion"] == "v2"


def test_a_guard_that_starts_late_reads_in_parts_and_says_the_same(ahead: Ahead) -> None:
    reader = Reader(ahead.service.ledger.series)
    late = Guard(
        ahead.guard._models, reader, clock=lambda: ahead.now, acts=False, seal_seconds=SEAL_SECONDS, every_seconds=3600
    )
    for _ in range(3):
        ahead.pass_minutes(2, FAIR, version=2, rows=15)
        ahead.now += 170 * 60
        found = ahead.guard.check("faces")
    assert late.check("faces") == found and found[0].blocks == 6
    assert max(reader.spans) == MINUTES_AT_ONCE and len(reader.spans) > 2


def test_a_swap_starts_the_evidence_anew(ahead: Ahead) -> None:
    ahead.pass_minutes(3, FAIR, version=2)
    assert ahead.guard.check("faces")[0].blocks == 3
    assert swap(ahead.client, "faces", "v1").status_code == 200
    assert ahead.guard.check("faces")[0].hypothesis.version == 1
    ahead.guard.check("faces")
    assert [each["done"] for each in ahead.guard.evidence_report("faces")] == [None]  # no twins, one question


def test_a_rollout_that_changed_meanwhile_is_left_alone(ahead: Ahead) -> None:
    ahead.pass_minutes(5, BIASED, version=2)
    watched = ahead.guard._models["faces"]
    stand = watched.serving_state()
    assert swap(ahead.client, "faces", "v2").status_code == 200  # another revision
    ahead.guard._models = {"faces": Stale(watched, stand)}
    ahead.guard.check("faces")
    assert ahead.client.get("/v1/models/faces/rollout").json()["champion"] == "v2"
    assert ahead.told[0]["done"].startswith("superseded")


class Stale:
    """A model whose replica has not heard of the latest rollout."""

    def __init__(self, watched: Any, stand: Any) -> None:
        self._watched, self._stand, self.pos_label = watched, stand, watched.pos_label

    def serving_state(self) -> Any:
        return self._stand

    def withdraw(self, stand: Any, evidence: Any) -> str:
        return str(self._watched.withdraw(stand, evidence))


def test_an_alarm_is_raised_once_and_changes_nothing_where_it_shall_not(ahead: Ahead) -> None:
    ahead.guard._models["faces"]._rules = type(ahead.guard._models["faces"].serving_state().rules)(  # type: ignore
        max_disparity=0.1, action="alarm"
    )
    ahead.pass_minutes(5, BIASED, version=2)
    for _ in range(3):
        ahead.guard.check("faces")
        ahead.now += 60
    assert [alarm["done"] for alarm in ahead.told] == ["alarm"]
    assert ahead.client.get("/v1/models/faces/rollout").json()["champion"] == "v2"
