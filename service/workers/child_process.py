"""A child process of the supervisor, across its restarts."""

from __future__ import annotations

import errno
import logging
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence

from service.workers.control_socket import BEAT, MAX_TEXT, READY, Offer, send_link

BACKOFF_SECONDS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds before the first, second, ... restart; the last value from then on."""
HEALTHY_SECONDS = 20.0
"""Uptime after which the backoff starts over."""
FULL = frozenset({errno.EAGAIN, errno.ENOBUFS, errno.ETOOMANYREFS})
"""Errors of a control socket that takes no more for the moment."""
logger = logging.getLogger(__name__)


class ChildProcess:
    """A process that runs a module with the options of the service, and inherits listening sockets, if any."""

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        listening: Sequence[socket.socket] = (),
        where: str = "",
    ) -> None:
        self.name = module + where
        self.module, self._arguments, self._listening = module, list(arguments), listening
        self._environment = dict(environment)
        self.ready, self.was_ready, self.text = False, False, ""
        self.status: int | None = None
        self.last_pid = 0
        self.lost: frozenset[int] = frozenset()
        self._process: subprocess.Popen[bytes] | None = None
        self._control_socket: socket.socket | None = None
        self._unsent: deque[Offer] = deque()
        self._deaths, self._started_at, self._due_at, self._silence = 0, 0.0, 0.0, 0.0

    @property
    def running(self) -> bool:
        """Whether it was started and not yet reaped."""
        return self._process is not None

    @property
    def restart_due(self) -> bool:
        """Whether it is down and its backoff is over."""
        return self._process is None and time.monotonic() >= self._due_at

    def start(self) -> None:
        """Start the process, with a fresh control socket."""
        self._control_socket, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
        self._control_socket.setblocking(False)
        with theirs:
            inherited = [theirs.fileno(), *(each.fileno() for each in self._listening)]
            command = [sys.executable, "-m", self.module, *map(str, inherited), *self._arguments]
            self._process = subprocess.Popen(command, pass_fds=inherited, process_group=0, env=self._environment)
        self.ready, self.lost, self._started_at, self._silence = False, frozenset(), time.monotonic(), 0.0

    def send_link(self, process: int, serial: int, link: socket.socket) -> None:
        """Send a connection over the control socket, now or when it takes more; dropped if the process is down."""
        if self._control_socket:
            self._unsent.append(Offer(process, serial, link.dup()))
            self._send()

    def _send(self) -> None:
        while self._control_socket and self._unsent:
            try:
                send_link(self._control_socket, self._unsent[0])
            except OSError as error:
                if error.errno in FULL:
                    return  # it is starting or busy; the next look tries again
                self.signal(signal.SIGKILL)  # it died, or no longer reads its control socket
            self._unsent.popleft().connection.close()

    def look(self, seconds: float) -> None:
        """Read its messages: ready, heartbeats, and which of its connections are lost.

        `seconds` have passed since the last look, without those in which the supervisor itself was suspended.
        """
        self._silence += seconds
        self._send()
        while message := self._receive():
            self._silence = 0.0
            if message.startswith(READY):
                self.ready = self.was_ready = True
                self.text = message.removeprefix(READY).decode()
            elif message.startswith(BEAT):
                self.lost = frozenset(map(int, message.removeprefix(BEAT).split()))

    def _receive(self) -> bytes:
        try:
            return self._control_socket.recv(MAX_TEXT + 100) if self._control_socket else b""
        except OSError:
            return b""

    def kill_if_silent(self, seconds: float) -> None:
        """Kill it after `seconds` without a heartbeat: nothing else ends a suspended process. Not during start."""
        if self._control_socket and self.ready and self._silence > seconds:
            logger.error("%s was silent for %.1f s: it is killed and started again", self.name, self._silence)
            self.signal(signal.SIGKILL)
            self._silence = 0.0

    def reap(self) -> bool:
        """Whether it has ended; if so, schedules its restart."""
        if self._process is None or self._process.poll() is None:
            return False
        self.status, self.last_pid = self._process.returncode, self._process.pid
        self._process, self.ready = None, False
        self.close_control()
        self._deaths = 0 if time.monotonic() - self._started_at > HEALTHY_SECONDS else self._deaths
        self._due_at = time.monotonic() + BACKOFF_SECONDS[min(self._deaths, len(BACKOFF_SECONDS) - 1)]
        self._deaths += 1
        return True

    def exit_summary(self) -> str:
        """Its exit status or signal, and its uptime, in words."""
        how = f"signal {-self.status}" if self.status and self.status < 0 else f"status {self.status}"
        return f"{self.name} ended with {how} after {time.monotonic() - self._started_at:.1f} s"

    def signal(self, number: int) -> None:
        """Send it a signal, if it runs."""
        if self._process:
            self._process.send_signal(number)

    def close_control(self) -> None:
        """Close its control socket, which makes an engine process end."""
        while self._unsent:
            self._unsent.popleft().connection.close()
        if self._control_socket:
            self._control_socket.close()
            self._control_socket = None
