"""The watch of an endpoint: a thread that asks for its canary, at the start, now and then, and while it is away."""

from __future__ import annotations

import logging
import random
import threading
import time

from service.engine.endpoint_health import EndpointHealth
from triggers.errors import FairtriggerError, ModelChanged
from triggers.model.endpoint_classifier import EndpointClassifier

PROBE_SECONDS = 0.5
"""Seconds between two canaries while the endpoint is away."""
CHANGED_SHARE = 0.1
"""Of the time that a change has lasted, after which the canary is asked again; each answer may cost money."""
logger = logging.getLogger(__name__)


class EndpointWatch:
    """Keeps the health of a classifier's endpoint up to date. `first_check` is set when the canary was first asked."""

    def __init__(self, classifier: EndpointClassifier, health: EndpointHealth) -> None:
        self.health, self._classifier = health, classifier
        self.first_check, self._stopping = threading.Event(), False
        name = f"endpoint-{classifier.name}"
        self._thread = threading.Thread(target=self._keep_checking, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread, after the canary that it may wait for, and the connections."""
        self._stopping = True
        self.health.wake.set()
        if self._thread.is_alive():
            self._thread.join()
        self._classifier.endpoint.connection.close()

    def check(self) -> None:
        """Ask for the canary, and say to `health` what came of it. Waits for the endpoint."""
        try:
            self._classifier.verify()
        except ModelChanged as error:
            self.health.changed(str(error))
        except FairtriggerError as error:
            self.health.failed(error)
        else:
            self.health.answered()
        self.first_check.set()

    def _pause(self) -> float:
        """Seconds until the next canary, a fifth more or less, so that processes do not ask all at once."""
        state, most = self.health.state, self.health.every_seconds
        wait = {"answers": most, "changed": min(most, CHANGED_SHARE * (time.time() - state.since))}
        return max(PROBE_SECONDS, wait.get(state.status, 0.0)) * random.uniform(0.8, 1.2)  # nosec B311

    def _keep_checking(self) -> None:
        while not self._stopping:
            try:
                self.health.wake.clear()
                self.check()
            except Exception:  # the thread boundary: the next round tries again
                logger.exception("model %s: its endpoint could not be checked", self._classifier.name)
            self.health.wake.wait(self._pause())
