"""The client of a service for programs that run on an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from fairtrigger.client import feedback, rollouts
from fairtrigger.client.connection import ServiceConnection
from fairtrigger.client.data_frames import TableT
from fairtrigger.client.fairness_figures import FairnessFigures, FairnessSeries
from fairtrigger.client.feedback import ItemReceipt, TrueLabel
from fairtrigger.client.predictions import ForEach, PredictOptions
from fairtrigger.client.results import PredictionResult
from fairtrigger.client.rollouts import RolloutState
from fairtrigger.client.service_calls import Operation, Pause
from fairtrigger.model_inputs import ImageInput

_T = TypeVar("_T")


class AsyncClient(ServiceConnection):
    """A client for an event loop, otherwise as `Client`: an async context manager, one pool of connections.

    Calls may run at once (asyncio.gather); each one sends its requests one after the other.
    """

    def _open(self) -> None:
        self._http = httpx.AsyncClient(**self._options)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def models(self) -> list[str]:
        """As `Client.models`."""
        return await self._run(self._models())

    async def model_card(self, model: str) -> Mapping[str, Any]:
        """As `Client.model_card`."""
        return await self._run(self._card(model))

    async def predict_images(
        self,
        model: str,
        images: Iterable[ImageInput],
        *,
        groups: ForEach = None,
        keys: ForEach = None,
        trigger: str | None = None,
        twin: bool = False,
    ) -> list[PredictionResult]:
        """As `Client.predict_images`."""
        return await self._run(self._images(model, images, PredictOptions(groups, keys, trigger, twin)))

    async def predict_texts(
        self,
        model: str,
        texts: Iterable[str],
        *,
        groups: ForEach = None,
        keys: ForEach = None,
        trigger: str | None = None,
        twin: bool = False,
    ) -> list[PredictionResult]:
        """As `Client.predict_texts`."""
        return await self._run(self._texts(model, texts, PredictOptions(groups, keys, trigger, twin)))

    async def predict_frame(
        self,
        model: str,
        table: TableT,
        column: str,
        *,
        group: str | None = None,
        key: str | None = None,
        trigger: str | None = None,
        twin: bool = False,
    ) -> TableT:
        """As `Client.predict_frame`."""
        options = PredictOptions(trigger=trigger, twin=twin)
        return await self._run(self._frame(model, table, column, group, key, options))

    async def feedback(
        self,
        model: str,
        prediction_ids: Iterable[str],
        labels: Iterable[TrueLabel] = (),
        *,
        groups: ForEach = None,
    ) -> list[ItemReceipt]:
        """As `Client.feedback`."""
        return await self._run(feedback.give_feedback(model, prediction_ids, labels, groups, self._rules))

    async def observe(self, model: str, observations: Iterable[Mapping[str, Any]]) -> list[ItemReceipt]:
        """As `Client.observe`."""
        return await self._run(feedback.tell_observations(model, observations, self._rules))

    async def fairness(self, model: str, window: str = "1h", *, attributes: Sequence[str] = ()) -> FairnessFigures:
        """As `Client.fairness`."""
        return await self._run(self._fairness(model, window, attributes))

    async def fairness_over_time(
        self, model: str, window: str = "24h", *, step: str | None = None, attributes: Sequence[str] = ()
    ) -> FairnessSeries:
        """As `Client.fairness_over_time`."""
        return await self._run(self._series(model, window, step, attributes))

    async def rollout(self, model: str) -> RolloutState:
        """As `Client.rollout`."""
        return await self._run(rollouts.rollout_state(model, self._rules))

    async def activate(self, model: str, version: str | int, *, reason: str = "", wait: float = 30.0) -> RolloutState:
        """As `Client.activate`."""
        return await self._run(rollouts.activate(model, version, reason, wait, self._rules))

    async def canary(
        self, model: str, version: str | int, share: float = 0.05, *, reason: str = "", wait: float = 30.0
    ) -> RolloutState:
        """As `Client.canary`."""
        return await self._run(rollouts.canary(model, version, share, reason, wait, self._rules))

    async def rollback(self, model: str, *, reason: str = "", wait: float = 30.0) -> RolloutState:
        """As `Client.rollback`."""
        return await self._run(rollouts.roll_back(model, reason, wait, self._rules))

    async def _run(self, operation: Operation[_T]) -> _T:
        """Drive an operation: send what it yields, wait where it says so."""
        try:
            step = next(operation)
            while True:
                if isinstance(step, Pause):
                    await asyncio.sleep(step.seconds)
                    step = operation.send(None)
                    continue
                try:
                    response = await self._http.request(**step.request())
                except httpx.TransportError as error:
                    step = operation.throw(error)
                else:
                    step = operation.send(response)
        except StopIteration as end:
            found: _T = end.value
            return found
