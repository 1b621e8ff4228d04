"""What is sent again and what is not, when answers are lost and requests turned away: nothing counts twice."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

from fairtrigger.client import AnswerLost, AsyncClient, Client, ServiceError
from fairtrigger.client.errors import ServiceUnreachable
from tests.fairtrigger.client.lossy_proxy import LossyProxy, lossy_proxy
from tests.service.live import TOKEN

BUSY = (503, "overloaded", "0")


@pytest.fixture
def proxy(service: httpx.Client) -> Iterator[LossyProxy]:
    with lossy_proxy(service) as proxy:
        yield proxy


@pytest.fixture
def behind(proxy: LossyProxy) -> Iterator[Client]:
    """A client behind the proxy that has read the models' cards."""
    with Client(proxy.url, TOKEN, retries=3) as client:
        client.model_card("posts")
        proxy.seen.clear()
        yield client


def counted(client: Client) -> int:
    return sum(version["n"] for version in client.fairness("posts", "all").document["versions"].values())


def test_a_prediction_that_was_turned_away_is_sent_again_and_counts_once(proxy: LossyProxy, behind: Client) -> None:
    proxy.faults += [BUSY, (429, "too_many_requests", "0")]
    (found,) = behind.predict_texts("posts", ["the good dog"])
    assert found.label and proxy.seen == ["POST predict"] * 3
    assert counted(behind) == 1


def test_a_prediction_whose_answer_was_lost_is_not_sent_again(proxy: LossyProxy, behind: Client) -> None:
    proxy.faults += ["lose"]
    with pytest.raises(AnswerLost, match="may have been counted") as found:
        behind.predict_texts("posts", ["the good dog"])
    assert found.value.code == "answer_lost" and "twice" in found.value.remedy
    assert proxy.seen == ["POST predict"] and counted(behind) == 1
    proxy.faults += ["gateway"]
    with pytest.raises(ServiceError, match="answered 502, not by the service"):
        behind.predict_texts("posts", ["the good dog"])
    assert counted(behind) == 1


def test_what_was_answered_before_a_loss_comes_with_the_error(proxy: LossyProxy, behind: Client) -> None:
    most = behind.model_card("posts")["limits"]["items_per_request"]
    proxy.faults += ["pass", *[BUSY] * 4]
    with pytest.raises(ServiceError, match="raise retries") as found:
        behind.predict_texts("posts", ["the good dog"] * (most + 2))
    assert found.value.status == 503 and len(found.value.answered) == counted(behind) == most
    assert all(one.prediction_id for one in found.value.answered)


def test_reading_and_feedback_are_sent_again_whatever_happens(proxy: LossyProxy, behind: Client) -> None:
    (found,) = behind.predict_texts("posts", ["the good dog"], groups="a")
    assert found.prediction_id
    proxy.faults += ["lose", "gateway", "lose"]
    assert behind.feedback("posts", [found.prediction_id], [1])[0].status == "unchanged"
    proxy.faults += ["lose", BUSY]
    assert counted(behind) == 1
    proxy.faults += ["lose"]
    (told,) = behind.observe("posts", [{"observation_id": "1", "version": None, "prediction": 1}])
    assert told.status == "counted_before" and counted(behind) == 2


def test_a_decision_whose_answer_was_lost_is_found_again(proxy: LossyProxy, behind: Client) -> None:
    proxy.seen.clear()
    proxy.faults += ["lose"]  # of the reading before
    behind.activate("posts", "v1", reason="first", wait=0)
    behind.rollout("posts")
    assert proxy.seen == ["GET rollout"] * 2 + ["PUT rollout", "GET rollout"]
    proxy.faults += ["pass", "lose"]  # of the decision
    state = behind.activate("posts", "v2", reason="second")
    assert (state.revision, state.champion, state.reason) == (2, "v2", "second")
    proxy.faults += ["pass", "lose"]
    with pytest.raises(ServiceError, match="read rollout"):
        behind.rollback("posts")
    assert behind.rollout("posts").champion == "v1"


def test_retry_after_is_waited_for_and_too_long_a_wait_is_not(proxy: LossyProxy, behind: Client) -> None:
    until = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    proxy.faults += [(503, "overloaded", until)]
    began = time.monotonic()
    behind.models()
    assert time.monotonic() - began > 0.9
    proxy.faults += [(503, "overloaded", "3600")]
    began = time.monotonic()
    with pytest.raises(ServiceError):
        behind.models()
    assert time.monotonic() - began < 5


def test_no_service_is_said_plainly() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with Client(f"http://127.0.0.1:{port}", retries=1) as client:
        with pytest.raises(ServiceUnreachable, match=f"No service answers at http://127.0.0.1:{port}") as found:
            client.models()
    assert found.value.status == 0


def test_the_async_client_retries_alike(proxy: LossyProxy) -> None:
    async def ask() -> None:
        async with AsyncClient(proxy.url, TOKEN, retries=3) as client:
            proxy.faults += ["lose", "pass", BUSY]  # the card is read again, the prediction turned away once
            (found,) = await client.predict_texts("posts", ["the good dog"])
            assert found.label
            proxy.faults += ["lose"]
            with pytest.raises(AnswerLost):
                await client.predict_texts("posts", ["the good dog"])

    asyncio.run(ask())
    assert proxy.seen == ["GET posts"] * 2 + ["POST predict"] * 3
