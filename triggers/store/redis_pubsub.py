"""Notifications of changed rollouts over Redis pub/sub. A lost message costs only the time to the next poll."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from triggers.storage.redis_client import translated
from triggers.store.redis_keys import CHANNEL

if TYPE_CHECKING:
    import redis

logger = logging.getLogger(__name__)

LISTEN_SECONDS = 0.5
"""Seconds of one wait for a message, after which the thread checks whether to stop."""
FIRST_WAIT, LONGEST_WAIT = 0.05, 2.0
"""Seconds between attempts to listen again, doubled from the first to the longest."""


class RedisPubSub:
    """A subscription to rollout changes: one connection and one thread for all models, from the first `watch` on."""

    def __init__(self, client: redis.Redis) -> None:
        self._redis = client
        self._lock, self._stopping = threading.Lock(), threading.Event()
        self._watchers: dict[object, tuple[str, Callable[[], None]]] = {}
        self._thread: threading.Thread | None = None
        self._wait, self._subscribed = FIRST_WAIT, False

    def watch(self, model: str, wake: Callable[[], None]) -> Callable[[], None]:
        """Call `wake` whenever the rollout of a model changed or may have changed; returns a function that ends it.

        The first call says that listening has begun.
        """
        token = object()
        with self._lock:
            self._watchers[token] = (model, wake)
            subscribed = self._subscribed
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="redis-bus", daemon=True)
                self._thread.start()
        if subscribed:
            wake()

        def end() -> None:
            with self._lock:
                self._watchers.pop(token, None)

        return end

    def close(self) -> None:
        """End the thread; safe to call twice."""
        self._stopping.set()
        if self._thread:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with translated():
                    self._listen()
            except Exception as error:  # the thread boundary: it listens again
                level = logging.WARNING if self._wait == FIRST_WAIT else logging.DEBUG
                logger.log(level, "Changes of rollouts are seen by polling alone for now: %s", error)
                self._stopping.wait(self._wait)
                self._wait = min(2 * self._wait, LONGEST_WAIT)

    def _listen(self) -> None:
        """Pass messages on until `close` (returns) or until the connection breaks (raises)."""
        with self._redis.pubsub(ignore_subscribe_messages=True) as subscription:
            subscription.subscribe(CHANNEL)
            self._tell_all()  # changes before the subscription
            try:
                while not self._stopping.is_set():
                    message = subscription.get_message(timeout=LISTEN_SECONDS)
                    self._wait = FIRST_WAIT
                    if message and message["type"] == "message":
                        self._tell(message["data"].decode(errors="replace"))
            finally:
                self._subscribed = False

    def _tell_all(self) -> None:
        """Listening has begun: whoever watches is told now, whoever comes later by `watch`."""
        with self._lock:
            self._subscribed = True
            everybody = [wake for _, wake in self._watchers.values()]
        for wake in everybody:
            wake()

    def _tell(self, model: str) -> None:
        with self._lock:
            chosen = [wake for name, wake in self._watchers.values() if name == model]
        for wake in chosen:
            wake()
