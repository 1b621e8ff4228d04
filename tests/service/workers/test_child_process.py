"""A child's line to the supervisor: what does not fit waits, silence is counted fairly, and ends the child."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.life import descendants
from service.workers.child_process import ChildProcess
from tests.service.line_reader import LINKS
from tests.service.live import wait_until

pytestmark = pytest.mark.process
MODULE = "tests.service.line_reader"


@pytest.fixture
def child() -> Iterator[ChildProcess]:
    made = ChildProcess(MODULE, [], os.environ)
    made.start()
    yield made
    made.signal(signal.SIGKILL)
    wait_until(lambda: not made.running or made.reap())


def sends_links(child: ChildProcess) -> None:
    """More than a line takes."""
    here, there = socket.socketpair()
    with here, there:
        for number in range(LINKS):
            child.send_link(number, 1, there)


def over(child: ChildProcess) -> bool:
    """Whether it said that it is ready, or ended."""
    child.look(0.0)
    return child.ready or child.reap()


def test_a_child_that_does_not_listen_yet_gets_every_link_later(child: ChildProcess) -> None:
    sends_links(child)
    wait_until(lambda: over(child))
    assert child.ready and child.text == "all", "it was not killed for what it could not help"


def test_a_child_has_its_own_process_group_so_that_a_terminal_interrupts_the_supervisor_alone(
    child: ChildProcess,
) -> None:
    def started() -> list[int]:
        return [pid for pid in descendants(os.getpid()) if MODULE in Path(f"/proc/{pid}/cmdline").read_text()]

    wait_until(started)
    assert [os.getpgid(pid) for pid in started()] == started()


def test_a_child_that_is_silent_for_too_long_is_killed_but_only_once_it_is_ready(child: ChildProcess) -> None:
    child.look(100.0)
    child.kill_if_silent(1.0)
    sends_links(child)
    wait_until(lambda: over(child))
    assert child.ready
    child.signal(signal.SIGSTOP)
    child.look(0.9)
    child.kill_if_silent(1.0)
    assert child.running and not child.reap()
    child.look(0.2)
    child.kill_if_silent(1.0)
    wait_until(child.reap)
    assert child.status == -signal.SIGKILL and "signal 9" in child.exit_summary()
