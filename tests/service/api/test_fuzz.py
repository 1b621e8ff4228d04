"""Whatever is sent, nobody gets a 5xx but a deliberate 503 or the 504 that they asked for, and memory does not grow.

FUZZ_REQUESTS says how many requests; `make fuzz` sends 100,000. A tenth is made from the OpenAPI document, valid and
not; the rest are valid requests cut, spliced and flipped on their way.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation

from tests.artifacts import artifact_for
from tests.bundles import image_bundle, text_bundle
from tests.service.fuzzing import PATIENCE, exchange, mutated, seeds
from tests.service.live import ADMIN, Process, picture, predict, process
from triggers.model import load_bundle
from triggers.store.file_store import FileStore

pytestmark = pytest.mark.process

AnyOperation = APIOperation[Any, Any, Any, Any]
REQUESTS = int(os.environ.get("FUZZ_REQUESTS", "300"))
MOST_GROWTH = 20 * 2**20
SETTINGS = hypothesis.settings(
    max_examples=1,
    database=None,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    tmp = tmp_path_factory.mktemp("fuzz")
    bundles = [image_bundle(tmp / "faces"), text_bundle(tmp / "posts")]
    with FileStore(tmp / "store") as store:
        for bundle in bundles:
            model = load_bundle(bundle)
            store.publish(artifact_for(model, "border" if model.spec.image else "hard"), actor="test")
    with process(tmp, bundles, drain_seconds=0) as service:
        yield service
        assert service.stop() == 0


def memory(service: Process) -> int:
    """Bytes that the process holds."""
    return int(Path(f"/proc/{service.popen.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Watch:
    """Counts answers, and fails on one that the service should not give."""

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()

    def see(self, what: object, status: int, body: bytes, retry_after: str) -> None:
        self.statuses[status] += 1
        deliberate = (status == 503 and retry_after) or (status == 504 and b'"deadline_exceeded"' in body)
        assert status < 500 or deliberate, f"{status} {body[:2000]!r} for {what}"
        assert b"Traceback" not in body


def by_document(service: Process, count: int, watch: Watch) -> None:
    """`count` requests from the OpenAPI document, spread over its operations, half of them wrong on purpose."""
    schema = schemathesis.openapi.from_url(f"{service.client.base_url}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
    ways = [(each, mode) for each in operations for mode in GenerationMode if _can_be(each, mode)]
    with requests.Session() as session:
        for operation, mode in ways:
            _operation(operation, mode, max(1, count // len(ways)), session, watch)


def _can_be(operation: AnyOperation, mode: GenerationMode) -> bool:
    """What takes no parameters and no body cannot be asked wrongly."""
    return mode is GenerationMode.POSITIVE or bool(list(operation.iter_parameters()) or list(operation.body))


def _operation(
    operation: AnyOperation, mode: GenerationMode, count: int, session: requests.Session, watch: Watch
) -> None:
    @hypothesis.settings(SETTINGS, max_examples=count)
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    def send(case: Case[Any]) -> None:
        if "model" in case.path_parameters and random.random() < 0.9:
            case.path_parameters["model"] = random.choice(["faces", "posts"])
        response = case.call(session=session, headers=ADMIN if random.random() < 0.5 else {}, timeout=PATIENCE)
        retry_after = response.headers.get("retry-after", [""])[0]
        watch.see(case.as_curl_command(), response.status_code, response.content, retry_after)

    with contextlib.suppress(Unsatisfiable):  # where every string is right, none can be wrong
        send()


def by_mutation(service: Process, count: int, watch: Watch, seed: int) -> None:
    """`count` requests that were fine until they were broken."""
    draw = random.Random(seed)
    good = seeds(predict(service.client, "faces", [picture(0)])[0]["prediction_id"])
    url = service.client.base_url
    for _ in range(count):
        raw = mutated(draw.choice(good), draw)
        watch.see(raw, *exchange((url.host, url.port or 80), raw))


def test_the_seeds_are_fine(fuzzed: Process) -> None:
    url = fuzzed.client.base_url
    prediction_id = predict(fuzzed.client, "faces", [picture(0)])[0]["prediction_id"]
    answers = [exchange((url.host, url.port or 80), raw) for raw in seeds(prediction_id)]
    assert [status for status, _, _ in answers] == [200] * len(answers), answers


@pytest.mark.slow
def test_whatever_is_sent_is_answered_and_leaves_nothing_behind(
    fuzzed: Process, capsys: pytest.CaptureFixture[str]
) -> None:
    random.seed(0)
    watch = Watch()
    by_mutation(fuzzed, REQUESTS // 20, watch, seed=1)  # buffers, caches and labels find their size
    by_document(fuzzed, REQUESTS // 20, watch)
    before = memory(fuzzed)
    by_document(fuzzed, REQUESTS // 20, watch)
    grown = [memory(fuzzed) - before]
    quarter = (REQUESTS - watch.statuses.total()) // 4
    for seed in range(2, 6):  # a leak grows on, a cache does not
        by_mutation(fuzzed, quarter, watch, seed)
        grown.append(memory(fuzzed) - before)
    curve = ", ".join(f"{each / 2**20:+.1f}" for each in grown)
    with capsys.disabled():
        report = ", ".join(f"{status or 'closed'}: {n}" for status, n in sorted(watch.statuses.items()))
        print(f"\n{watch.statuses.total()} requests ({report}); memory {curve} MiB")  # noqa: T201
    assert grown[-1] < MOST_GROWTH
    assert fuzzed.client.get("/readyz").status_code == 200
    assert not re.search("Traceback|ERROR", fuzzed.log.read_text())
