"""The webhook against a real HTTP receiver: what is posted, when it is tried again, and what is never followed."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

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


@contextmanager
def answering(*answers: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """A socket that reads a request and answers with these bytes, one after the other; yields its URL and requests."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            for answer in answers:
                connection, _ = listening.accept()
                with connection:
                    asked.append(connection.recv(65536))
                    connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/alarms", asked
        thread.join(10)


GARBAGE = {
    "no HTTP": b"garbage\r\n\r\n",
    "a status that is no number": b"HTTP/1.1 two hundred\r\n\r\n",
    "a thousand headers": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
    "an endless line": b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
    "nothing": b"",
}


@pytest.mark.parametrize("answer", GARBAGE.values(), ids=GARBAGE.keys())
def test_a_garbage_answer_is_a_failed_attempt_like_any_other(answer: bytes) -> None:
    with answering(answer, b"HTTP/1.1 204 No Content\r\n\r\n") as (url, asked):
        sent(url)
    assert len(asked) == 2 and all(b"worse_than_before" in each or b"POST" in each for each in asked)


def test_garbage_to_the_end_is_given_up_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with answering(*[b"garbage\r\n\r\n"] * 3) as (url, asked):
        sent(url)
    assert len(asked) == 3 and "after 3 attempts: garbage" in caplog.text
