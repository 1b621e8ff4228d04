"""Several processes as one service: one per device holds the models, the others speak HTTP and decode.

The supervisor imports no model code and answers nothing. It holds the listening socket, starts its children, connects
every HTTP process with every inference process, kills what stands still, starts again what died, connects anew what
lost its connection, and ends when the last child has ended.
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

from service.child import Child
from service.devices import alone, devices_of
from service.door import listen, url_of
from service.settings import Settings
from triggers.errors import ConfigError

TICK_SECONDS, BUSY_SECONDS = 0.25, 0.05
"""How often the children are looked after when nothing happens, and while some start or end; a death wakes at once."""
KILL_SECONDS = 5.0
"""What a child may take beyond drain and grace time before it is killed."""
WORKERS_PER_DEVICE = 2
"""HTTP processes where devices are listed and nothing else is said."""
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""As in metrics.py, which is not imported here: the variable must not be there before the children are."""
logger = logging.getLogger(__name__)


class Supervisor:
    """Runs until a signal ends it; `arguments` are the options that the children read too.

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
        environment = os.environ | {FOLDER_VARIABLE: self._counts.name}
        self._inference = [_on_device(device, settings, arguments, environment) for device in self._devices]
        self._http = [
            Child("service.http_process", [role, *arguments], environment, self._listening)
            for role in ["guards", *["serves"] * (workers - 1)]  # the guard acts once
        ]
        self._children = (*self._inference, *self._http)
        self._serials = itertools.count(1)
        self._joined: dict[tuple[Child, int], int] = {}
        self._announced = False
        self._looked_at = time.monotonic()
        self._stopping_at: float | None = None
        self._status = 0

    def run(self) -> int:
        """Start everything and keep it running; returns the exit status."""
        with self._counts, _signals(self._on_signal) as wait:
            for number in range(len(self._inference)):
                self._start_inference(number)
            for child in self._http:
                self._start_http(child)
            while self._running():
                wait(TICK_SECONDS if self._settled else BUSY_SECONDS)
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

    def _start_http(self, child: Child) -> None:
        child.start()
        for number, inference in enumerate(self._inference):
            if inference.running:
                self._join(child, number)

    def _join(self, http: Child, number: int) -> None:
        """A fresh connection between an HTTP process and an inference process."""
        serial = self._joined[http, number] = next(self._serials)
        one, other = socket.socketpair()
        with one, other:
            http.send_link(number, serial, one)
            self._inference[number].send_link(number, serial, other)

    def _join_again(self) -> None:
        """Where a connection was lost between two processes that live; one that died is joined when it is started."""
        for (http, number), serial in list(self._joined.items()):
            if serial in http.lost and http.running and self._inference[number].running:
                self._join(http, number)

    def _on_signal(self, number: int) -> None:
        """SIGTERM drains, SIGINT does not wait so long; see `server.Server.handle_exit` in the children."""
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

    def _on_death(self, child: Child) -> None:
        for gauge in Path(self._counts.name).glob(f"gauge_live*_{child.last_pid}.db"):
            gauge.unlink()  # a dead process has nothing in flight
        if self._stopping_at is not None:
            if child.was_ready and (child.status or 0) > 0:  # it did not stop in good order, and said so
                self._status = 1
            return
        logger.error("%s", child.obituary())
        if not child.was_ready:  # it never worked, so starting it again will not help
            self._status = child.status if child.status and child.status > 0 else 1
            self._on_signal(signal.SIGTERM)

    def _start_what_is_due(self) -> None:
        for number, inference in enumerate(self._inference):
            if inference.due:
                self._start_inference(number)
        for child in self._http:
            if child.due:
                self._start_http(child)

    def _announce(self) -> None:
        """Once, when everything works."""
        if not self._announced and self._settled:
            self._announced = True
            Console(stderr=True, highlight=False, soft_wrap=True).print(self._http[0].text)
            url, devices = url_of(self._listening[0]), ", ".join(self._devices)
            logger.info("%d HTTP processes at %s, models on %s", len(self._http), url, devices)

    def _end(self, seconds: float) -> None:
        """First the HTTP processes end, then those with the models; whoever takes too long is killed."""
        late = seconds > self._settings.drain_seconds + self._settings.grace_seconds + KILL_SECONDS
        if late:
            self._status = 1
            for child in self._children:
                child.signal(signal.SIGKILL)
        if not any(child.running for child in self._http):
            for inference in self._inference:
                inference.hang_up()
                if not inference.ready:
                    inference.signal(signal.SIGKILL)


def _on_device(device: str, settings: Settings, arguments: Sequence[str], environment: Mapping[str, str]) -> Child:
    """An inference process; one of several sees no other device than its own."""
    if not settings.devices:
        return Child("service.inference_process", [device, *arguments], environment)
    seen_as, masked = alone(device, environment)
    return Child("service.inference_process", [seen_as, *arguments], masked, where=f" on {device}")


def _memory_folder() -> str | None:
    """Where a full disk does no harm: the counts lie in mapped files, which must be able to grow."""
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
