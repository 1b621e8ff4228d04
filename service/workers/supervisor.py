"""The supervisor of several processes as one service: HTTP workers, and engine processes unless the workers compute.

It imports no model code and answers no request. It holds the listening sockets, starts its children, connects every
HTTP worker with every engine process, kills silent children, restarts dead ones, replaces lost connections, and ends
when the last child has ended.
"""

from __future__ import annotations

import itertools
import logging
import os
import select
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from service.config import Settings
from service.server.shared_listener import listen, url_of
from service.workers.child_process import ChildProcess
from service.workers.devices import devices_of, isolated_env
from triggers.errors import ConfigError

TICK_SECONDS, BUSY_TICK_SECONDS = 0.25, 0.05
"""Seconds between checks of the children, in steady state and while some start or end; a death wakes at once."""
KILL_SECONDS = 5.0
"""Seconds beyond drain and grace time after which a child is killed."""
WORKERS_PER_DEVICE = 2
"""HTTP workers per listed device, by default."""
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
METRICS_FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""As in telemetry/metrics.py, which is not imported here: only the children may see the variable."""
logger = logging.getLogger(__name__)


class Supervisor:
    """Runs the service until a signal ends it; `arguments` are the options, which the children read too.

    Raises ConfigError.
    """

    def __init__(self, settings: Settings, arguments: Sequence[str]) -> None:
        if not sys.platform.startswith("linux"):
            raise ConfigError("Several processes need Linux; leave http_workers at 0 here.")
        if not settings.models:
            raise ConfigError("There is no model to serve: give --model FOLDER, or FAIRTRIGGER_MODELS.")
        self._settings, self._devices = settings, devices_of(settings)
        workers = settings.http_workers or WORKERS_PER_DEVICE * len(self._devices)
        if settings.devices:
            arguments = [*arguments, "--devices", ",".join(self._devices), "--http-workers", str(workers)]
        self._listening = [listen(settings.host, settings.port)]
        if settings.admin_port is not None:
            self._listening.append(listen(settings.admin_host, settings.admin_port))
        self._counts = tempfile.TemporaryDirectory(prefix="fairtrigger-", dir=_memory_folder())
        environment = os.environ | {METRICS_FOLDER_VARIABLE: self._counts.name}
        self._inference = [_on_device(device, settings, arguments, environment) for device in self._devices]
        self._http = [
            ChildProcess("service.workers.http_worker", [role, *arguments], environment, self._listening)
            for role in ["guards", *["serves"] * (workers - 1)]  # the guard acts in one process
        ]
        self._children = (*self._inference, *self._http)
        self._serials = itertools.count(1)
        self._joined: dict[tuple[ChildProcess, int], int] = {}
        self._announced = False
        self._looked_at = time.monotonic()
        self._stopping_at: float | None = None
        self._answered_at: float | None = None
        self._status = 0

    def run(self) -> int:
        """Start everything and keep it running; returns the exit status."""
        with self._counts, _signals(self._on_signal) as wait:
            for number in range(len(self._inference)):
                self._start_inference(number)
            for child in self._http:
                self._start_http(child)
            while self._running():
                wait(TICK_SECONDS if self._settled else BUSY_TICK_SECONDS)
                self._look_after()
        self._close_doors()
        return self._status

    @property
    def _settled(self) -> bool:
        return self._stopping_at is None and all(child.ready for child in self._children)

    def _running(self) -> bool:
        return any(child.running for child in self._children) or self._stopping_at is None

    def _start_inference(self, number: int) -> None:
        self._inference[number].start()
        for child in self._http:
            if child.running:
                self._join(child, number)

    def _start_http(self, child: ChildProcess) -> None:
        child.start()
        for number, inference in enumerate(self._inference):
            if inference.running:
                self._join(child, number)

    def _join(self, http: ChildProcess, number: int) -> None:
        """Make a fresh connection between an HTTP worker and an engine process."""
        serial = self._joined[http, number] = next(self._serials)
        one, other = socket.socketpair()
        with one, other:
            http.send_link(number, serial, one)
            self._inference[number].send_link(number, serial, other)

    def _join_again(self) -> None:
        """Replace connections lost between two running processes; a dead one gets new ones when it is restarted."""
        for (http, number), serial in list(self._joined.items()):
            if serial in http.lost and http.running and self._inference[number].running:
                self._join(http, number)

    def _on_signal(self, number: int) -> None:
        """SIGTERM drains, SIGINT does not; see `DrainingServer.handle_exit` in the children."""
        if number == signal.SIGCHLD:
            return
        if self._stopping_at is None:
            self._stopping_at = time.monotonic()
            self._close_doors()
        for child in self._http:
            child.signal(number if child.ready else signal.SIGKILL)

    def _close_doors(self) -> None:
        for listening in self._listening:
            listening.close()

    def _look_after(self) -> None:
        now = time.monotonic()
        seconds, self._looked_at = min(now - self._looked_at, TICK_SECONDS), now
        for child in self._children:
            child.look(seconds)
            child.kill_if_silent(self._settings.liveness_seconds)
            if child.reap():
                self._on_death(child)
        if self._stopping_at is not None:
            self._end(time.monotonic() - self._stopping_at)
        else:
            self._start_what_is_due()
            self._join_again()
            self._announce()

    def _on_death(self, child: ChildProcess) -> None:
        for gauge in Path(self._counts.name).glob(f"gauge_live*_{child.last_pid}.db"):
            gauge.unlink()  # a dead process has nothing in flight
        if self._stopping_at is not None:
            if child.was_ready and (child.status or 0) > 0:  # a step of its stop failed
                self._status = 1
            return
        logger.error("%s", child.exit_summary())
        if not child.was_ready:  # it never worked, so starting it again will not help
            self._status = child.status if child.status and child.status > 0 else 1
            self._on_signal(signal.SIGTERM)

    def _start_what_is_due(self) -> None:
        for number, inference in enumerate(self._inference):
            if inference.restart_due:
                self._start_inference(number)
        for child in self._http:
            if child.restart_due:
                self._start_http(child)

    def _announce(self) -> None:
        """Announce the service, once, when all children are ready."""
        if not self._announced and self._settled:
            self._announced = True
            Console(stderr=True, highlight=False, soft_wrap=True).print(self._http[0].text)
            url = url_of(self._listening[0])
            where = f"on {', '.join(self._devices)}" if self._devices else "in each"
            logger.info("%d HTTP processes at %s, models %s", len(self._http), url, where)

    def _end(self, seconds: float) -> None:
        """First the HTTP workers end, then the engine processes, which have nothing left to answer.

        A child that takes too long is killed.
        """
        late = seconds > self._settings.drain_seconds + self._settings.grace_seconds + KILL_SECONDS
        if late:
            self._status = 1
            for child in self._children:
                child.signal(signal.SIGKILL)
        if not any(child.running for child in self._http):
            self._answered_at = self._answered_at or time.monotonic()
            overdue = time.monotonic() - self._answered_at > KILL_SECONDS  # one that stands still hears of no end
            for inference in self._inference:
                inference.close_control()
                if overdue or not inference.ready:
                    inference.signal(signal.SIGKILL)


def _on_device(
    device: str, settings: Settings, arguments: Sequence[str], environment: Mapping[str, str]
) -> ChildProcess:
    """The engine process of a device; where devices are listed it sees no other."""
    if not settings.devices:
        return ChildProcess("service.workers.engine_server", [device, *arguments], environment)
    seen_as, masked = isolated_env(device, environment)
    return ChildProcess("service.workers.engine_server", [seen_as, *arguments], masked, where=f" on {device}")


def _memory_folder() -> str | None:
    """A folder in memory, if there is one: a full disk would break the mapped files of metrics, which grow."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # nosec B108


@contextmanager
def _signals(on_signal: Callable[[int], None]) -> Iterator[Callable[[float], None]]:
    """Yields a function that waits for a signal, at most so many seconds, and handles those that came."""
    ours, kernels = socket.socketpair()
    ours.setblocking(False)
    kernels.setblocking(False)
    before = {number: signal.signal(number, lambda *_: None) for number in SIGNALS}
    wakeup = signal.set_wakeup_fd(kernels.fileno())

    def wait(seconds: float) -> None:
        if select.select([ours], [], [], seconds)[0]:
            for number in ours.recv(256):
                on_signal(number)

    try:
        with ours, kernels:
            yield wait
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
