"""Changed endpoints: what is done, and written into the history, when the model behind an address is another one.

A thread looks at what this process knows of its endpoints; of several processes over one store one acts.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import replace

from service.engine import EndpointState, ServedModel
from triggers.errors import FairtriggerError
from triggers.rollout.rollout_plan import Shadow

ENDPOINT_ACTOR = "endpoint-watch"
LOOK_SECONDS = 0.2
logger = logging.getLogger(__name__)


class ChangedEndpoints:
    """Records every change in the model's history, once, and withdraws its triggers where the setting says so."""

    def __init__(self, models: Mapping[str, ServedModel], *, acts: bool) -> None:
        self._models = {name: model for name, model in models.items() if model.on_endpoint} if acts else {}
        self._handled: dict[str, EndpointState] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep_looking, name="changed-endpoints", daemon=True)

    def start(self) -> None:
        """Start the thread, if there is an endpoint."""
        if self._models:
            self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def look(self) -> None:
        """Act on what changed since the last look; what fails is tried again. Waits for the store."""
        for name, model in self._models.items():
            state = model.backend.endpoint
            if state is None or state.status != "changed" or self._handled.get(name) == state:
                continue
            try:
                self._act(model, state)
                self._handled[name] = state
            except FairtriggerError as error:
                logger.error("model %s: the change of its endpoint could not be handled: %s", name, error)

    def _act(self, model: ServedModel, state: EndpointState) -> None:
        desired, reason = model.controller.status.desired, str(state.reason)
        if state.rule != "withdraw" or not desired.plan.versions:
            model.controller.record_refusal(desired.champion, reason, ENDPOINT_ACTOR)
            return
        bare = replace(desired.plan, champion=None, challenger=None, shadow=Shadow())
        model.controller.change(
            bare, if_revision=desired.revision, actor=ENDPOINT_ACTOR, reason=f"triggers withdrawn: {reason}"
        )
        model.count_rollback("endpoint")

    def _keep_looking(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            try:
                self.look()
            except Exception:  # the thread boundary: the next round tries again
                logger.exception("changed endpoints could not be handled")
