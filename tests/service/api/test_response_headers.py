"""What stands in the headers of every answer: names, trace, times, trigger; and the deadline that a client sets."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from torch import Tensor, nn

from service.engine.batching.inline_policy import INLINE_BATCH_SECONDS
from service.server.request_id import continue_trace, trace_context
from tests.bundles import tiny_network
from tests.service.live import ADMIN, as_item, picture, problem, running, settings, swap
from triggers.model.classifier import FrozenClassifier
from triggers.store.file_store import FileStore

PREDICT = "/v1/models/faces/predict"
INFER = "/v2/models/faces/infer"
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize("path", ["/healthz", "/v2", "/nowhere", "/v1/models/faces"])
def test_a_request_id_is_kept_if_it_is_harmless_and_made_otherwise(strict: httpx.Client, path: str) -> None:
    assert strict.get(path, headers={"X-Request-Id": "order:7_a.b-c"}).headers["x-request-id"] == "order:7_a.b-c"
    made = {strict.get(path, headers={"X-Request-Id": bad}).headers["x-request-id"] for bad in ("", "a b", "x" * 129)}
    assert len(made) == 3 and all(re.fullmatch("[0-9a-f]{32}", each) for each in made)


def test_a_trace_is_continued_under_a_step_of_its_own(strict: httpx.Client) -> None:
    given = f"00-{TRACE}-{SPAN}-01"
    answers = [strict.get("/healthz", headers={"traceparent": given}).headers["traceparent"] for _ in range(2)]
    for answer in answers:
        assert re.fullmatch(f"00-{TRACE}-[0-9a-f]{{16}}-01", answer) and SPAN not in answer
    assert answers[0] != answers[1]


@pytest.mark.parametrize(
    "broken",
    [
        "",
        "x",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
    ],
)
def test_a_broken_traceparent_begins_a_new_trace(broken: str) -> None:
    made = trace_context({b"traceparent": broken.encode("latin-1")}).traceparent
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-00", made) and TRACE not in made


def test_a_later_version_of_trace_context_is_read_as_far_as_it_is_known() -> None:
    assert continue_trace(f"cc-{TRACE}-{SPAN}-01-what-the-future-brings").startswith(f"00-{TRACE}-")


def test_answers_name_their_times_and_triggers(service: httpx.Client) -> None:
    swap(service, "faces", "v2")
    items = [as_item(picture(0), trigger=each) for each in ("v1", "none", "champion", "v1")]
    answer = service.post(PREDICT, json={"inputs": items})
    assert answer.headers["x-trigger"] == "faces@v1, faces@none, faces@v2"
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [as_item(picture(0))["image"]]}
    other = service.post(INFER, json={"inputs": [tensor]})
    assert other.headers["x-trigger"] == "faces@v2"
    for each in (answer, other):
        assert re.fullmatch(r"decode;dur=[\d.]+, queue;dur=[\d.]+, infer;dur=[\d.]+", each.headers["server-timing"])


class Gate:
    """Where a batch waits; every copy of the network has the same."""

    def __init__(self) -> None:
        self.opened, self.reached = threading.Event(), threading.Event()
        self.opened.set()

    def __deepcopy__(self, memo: object) -> Gate:
        return self

    def __call__(self) -> None:
        if not self.opened.is_set():
            self.reached.set()
        assert self.opened.wait(60)


class Gated(nn.Module):
    """Computes only while its gate is open, and slowly enough to be given a thread."""

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self.inner, self.gate = tiny_network(), gate

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, 2)."""
        self.gate()
        time.sleep(2 * INLINE_BATCH_SECONDS)
        logits: Tensor = self.inner(images)
        return logits


@pytest.fixture
def gated(tmp_path: Path, image_model: FrozenClassifier) -> Iterator[tuple[httpx.Client, Gate]]:
    gate = Gate()
    model = FrozenClassifier(image_model.spec, Gated(gate))
    with FileStore(tmp_path / "store") as store, running(settings(tmp_path, max_batch=4), store, [model]) as client:
        yield client, gate
        gate.opened.set()


def v2_body(**parameters: Any) -> dict[str, Any]:
    tensor = {
        "name": "image",
        "datatype": "BYTES",
        "shape": [2],
        "data": [as_item(picture(n))["image"] for n in (0, 1)],
    }
    return {"inputs": [tensor], "parameters": parameters}


@pytest.mark.parametrize(
    "late",
    [
        {"url": PREDICT, "json": {"inputs": [as_item(picture(n)) for n in (0, 1)]}, "headers": {"X-Timeout-Ms": "60"}},
        {"url": INFER, "json": v2_body(timeout_ms=60)},
        {"url": INFER, "json": v2_body(timeout=60_000, timeout_ms=None)},
        {"url": INFER, "json": v2_body(timeout_ms=60_000), "headers": {"X-Timeout-Ms": "60"}},
    ],
)
def test_past_its_deadline_a_request_gets_504_at_once_and_is_not_computed(
    gated: tuple[httpx.Client, Gate], late: dict[str, Any]
) -> None:
    client, gate = gated
    gate.opened.clear()
    with ThreadPoolExecutor(1) as other:
        busy = other.submit(client.post, PREDICT, content=picture(0), headers={"Content-Type": "image/png"})
        assert gate.reached.wait(30)
        answer = client.post(**late)  # comes while the batch before it still runs
        gate.opened.set()
        assert busy.result().status_code == 200
    assert "60 ms" in problem(answer, 504, "deadline_exceeded")["detail"]
    metrics = client.get("/metrics").text
    assert 'fairtrigger_items_dropped_total{model="faces"} 2.0' in metrics
    assert 'fairtrigger_requests_dropped_total{model="faces"} 1.0' in metrics
    assert 'fairtrigger_batch_size_sum{model="faces"} 2.0' in metrics  # the busy one and problem()'s own


def test_a_deadline_that_is_kept_changes_nothing(gated: tuple[httpx.Client, Gate]) -> None:
    assert gated[0].post(INFER, json=v2_body(timeout_ms=60_000)).status_code == 200


@pytest.mark.parametrize("wrong", ["0", "-1", "1.5", "soon", "600001", "\u0661"])
@pytest.mark.parametrize("path", [PREDICT, INFER])
def test_a_deadline_that_is_none(strict: httpx.Client, path: str, wrong: str) -> None:
    headers = [(b"X-Timeout-Ms", wrong.encode())]
    problem(strict.post(path, json=v2_body(), headers=headers), 422, "invalid_request")


def test_metrics_keep_to_the_list(strict: httpx.Client) -> None:
    strict.post(PREDICT, content=picture(0), headers={"Content-Type": "image/png"} | ADMIN)
    told = set(re.findall(r"^# TYPE fairtrigger_(\w+) ", strict.get("/metrics", headers=ADMIN).text, re.MULTILINE))
    wanted = """requests_total request_duration_seconds queue_duration_seconds infer_duration_seconds
        decode_duration_seconds batch_size queue_depth requests_in_flight requests_rejected_total requests_dropped_total
        trigger_info trigger_swaps_total trigger_flips_total fairness_demographic_parity_gap fairness_equalized_odds_gap
        fairness_samples rollbacks_total"""
    assert set(wanted.split()) <= told


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", PREDICT), ("POST", INFER), ("GET", "/healthz"), ("GET", "/v1/models/faces/rollout"), ("GET", "/nowhere")],
)
def test_of_a_header_that_was_sent_twice_the_first_counts_on_every_route(
    strict: httpx.Client, method: str, path: str
) -> None:
    other = f"00-{'a' * 32}-{SPAN}-01"
    twice = [("X-Request-Id", "one"), ("X-Request-Id", "two"), ("traceparent", f"00-{TRACE}-{SPAN}-01")]
    found = strict.request(method, path, headers=[*twice, ("traceparent", other)])
    assert found.headers["x-request-id"] == "one" and found.headers["traceparent"].startswith(f"00-{TRACE}-")


def test_the_first_of_two_keys_revisions_and_times_counts(strict: httpx.Client) -> None:
    rollout, body = "/v1/models/faces/rollout", {"champion": None, "reason": "test"}
    right, wrong = ("Authorization", ADMIN["Authorization"]), ("Authorization", "Bearer somebody-else")
    now, never = ("If-Match", strict.get(rollout).headers["etag"]), ("If-Match", '"999"')
    for headers, status in (
        ([wrong, right, now], 401),
        ([right, wrong, never, now], 412),
        ([right, wrong, now, never], 200),
    ):
        assert strict.put(rollout, json=body, headers=headers).status_code == status
    media = ("Content-Type", "image/png")
    for path in (PREDICT, INFER):
        found = strict.post(path, content=b"", headers=[media, ("X-Timeout-Ms", "soon"), ("X-Timeout-Ms", "5000")])
        assert "X-Timeout-Ms is 'soon'" in found.json()["detail"]
    texts = [("Content-Type", "text/plain"), media]
    wrong_kind = strict.post(PREDICT, content=b"a text", headers=texts)
    assert problem(wrong_kind, 422, "wrong_modality")
