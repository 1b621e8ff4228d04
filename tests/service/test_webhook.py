"""The webhook against a real HTTP receiver: what is posted, when it is tried again, and what is never followed."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from service.webhook import Webhook
from tests.service.live import wait_until
from tests.service.receiver import Receiver, receiving

ALARM = {"model": "faces", "test": "worse_than_before", "e_value": 61.2, "done": "challenger v4 rolled back"}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


def sent(url: str, pauses: tuple[float, ...] = (0.0, 0.0, 0.0)) -> None:
    """Send an alarm and wait until that is over."""
    before = set(threading.enumerate())
    Webhook(url, pauses).send(ALARM)
    for thread in set(threading.enumerate()) - before:
        if thread.name == "webhook":
            thread.join(10)


def test_an_alarm_is_posted_once_as_json(receiver: Receiver) -> None:
    sent(receiver.url)
    assert receiver.posted == [("/alarms?key=secret", "application/json", ALARM)]


def test_what_fails_is_tried_again(receiver: Receiver) -> None:
    receiver.statuses = [500, 503, 200]
    sent(receiver.url)
    assert [body for *_, body in receiver.posted] == [ALARM] * 3


@pytest.mark.parametrize("status", [302, 307, 400])
def test_it_gives_up_in_the_log_and_follows_no_redirect(
    receiver: Receiver, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.statuses = [status]
    sent(receiver.url)
    assert [path for path, *_ in receiver.posted] == ["/alarms?key=secret"] * 3
    assert f"after 3 attempts: HTTP Error {status}" in caplog.text
    assert "secret" not in caplog.text


def test_nobody_waits_for_a_receiver_that_is_not_there(caplog: pytest.LogCaptureFixture) -> None:
    with Receiver() as gone:
        url = gone.url
    Webhook(url, (0.0,)).send(ALARM)
    wait_until(lambda: "could not be posted" in caplog.text)
