"""One child of the supervisor, over all its lives."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from service.control import MAX_TEXT, send_link

BACKOFF_SECONDS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Pauses before the first, second, ... start after a death; the last one from then on."""
HEALTHY_SECONDS = 60.0
"""Whoever lived so long starts without a pause again."""


class Child:
    """A process that runs a module with the options of the service, and perhaps with listening sockets."""

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
        self._process: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None
        self._deaths, self._started_at, self._due_at = 0, 0.0, 0.0

    @property
    def running(self) -> bool:
        """Whether it was started and its end not yet noticed."""
        return self._process is not None

    @property
    def due(self) -> bool:
        """Whether it is time to start it."""
        return self._process is None and time.monotonic() >= self._due_at

    def start(self) -> None:
        """Begin a life."""
        self._line, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
        self._line.setblocking(False)
        with theirs:
            inherited = [theirs.fileno(), *(each.fileno() for each in self._listening)]
            command = [sys.executable, "-m", self.module, *map(str, inherited), *self._arguments]
            self._process = subprocess.Popen(command, pass_fds=inherited, process_group=0, env=self._environment)
        self.ready, self._started_at = False, time.monotonic()

    def send_link(self, number: int, link: socket.socket) -> None:
        """Pass a socket on; one that just died is joined again when it is started."""
        if self._line:
            try:
                send_link(self._line, number, link)
            except OSError:
                self.signal(signal.SIGKILL)  # it died, or it does not listen to its line any more

    def hear(self) -> None:
        """Note whether it says that it is ready."""
        if self._line and not self.ready:
            try:
                said = self._line.recv(MAX_TEXT + 100)
            except OSError:
                return
            if said.startswith(b"ready"):
                self.ready = self.was_ready = True
                self.text = said.removeprefix(b"ready").decode()

    def reap(self) -> bool:
        """Whether its end is noticed now."""
        if self._process is None or self._process.poll() is None:
            return False
        self.status, self.last_pid = self._process.returncode, self._process.pid
        self._process, self.ready = None, False
        self.hang_up()
        self._deaths = 0 if time.monotonic() - self._started_at > HEALTHY_SECONDS else self._deaths
        self._due_at = time.monotonic() + BACKOFF_SECONDS[min(self._deaths, len(BACKOFF_SECONDS) - 1)]
        self._deaths += 1
        return True

    def obituary(self) -> str:
        """Its end in words."""
        how = f"signal {-self.status}" if self.status and self.status < 0 else f"status {self.status}"
        return f"{self.name} ended with {how} after {time.monotonic() - self._started_at:.1f} s"

    def signal(self, number: int) -> None:
        """Send it a signal, if it runs."""
        if self._process:
            self._process.send_signal(number)

    def hang_up(self) -> None:
        """Close its line: for an inference process the word to end."""
        if self._line:
            self._line.close()
            self._line = None
