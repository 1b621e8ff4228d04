"""One served model: decoding, backend, rollout and prediction log put together.

inputs -> decode each on its own -> backend: a batch, one forward pass -> predictions, counted
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Literal, NamedTuple

from service.config import Settings
from service.engine.batching import BatchTiming
from service.engine.client_disconnect import WaitForDisconnect
from service.engine.decoding.cpu import CpuDecoder
from service.engine.decoding.passthrough import DecodedOrEncoded, build_passthrough
from service.engine.decoding.pixel_budget import Decoder, PixelBudget
from service.engine.model_backend import ModelBackend, RequestLease
from service.engine.observation_log import ObservationLog
from service.engine.prediction_log import PredictionLog
from service.engine.predictor import BatchItem, BatchResult, Scored
from service.engine.types import PredictInput
from service.engine.version_routing import NO_EXTRA_PASSES, ExtraPasses, routing_key, sample_extra_passes
from service.errors import Overloaded
from service.process_lifecycle import Shutdown
from service.rollout import RolloutController, TriggerState
from service.telemetry import Metrics
from triggers.errors import ArtifactError, EndpointUnavailable, InputError
from triggers.model.endpoint import EndpointLoader
from triggers.preprocessing import ImageLimits, TokenIds


class ItemResult(NamedTuple):
    """One input's answer, or its error."""

    wanted: PredictInput
    answer: Scored | None = None
    error: InputError | None = None
    truncated: bool = False


class RequestResult(NamedTuple):
    """The results of a request, in order, and where the time went (seconds)."""

    items: list[ItemResult]
    decode: float
    timings: list[BatchTiming]

    @property
    def queue(self) -> float:
        """The longest wait for a batch, in seconds."""
        return max([timing.queue for timing in self.timings], default=0.0)

    @property
    def infer(self) -> float:
        """Seconds of all forward passes that took part."""
        return sum([timing.infer for timing in self.timings])


class ServedModel:
    """A frozen classifier with its backend, its RolloutController, its PredictionLog and its ObservationLog."""

    def __init__(
        self,
        backend: ModelBackend,
        follower: RolloutController,
        settings: Settings,
        metrics: Metrics,
        prediction_log: PredictionLog,
        observation_log: ObservationLog,
        decoders: Executor,
    ) -> None:
        self.name, self.classifier, self.prediction_log = backend.name, backend.classifier, prediction_log
        self.observation_log = observation_log
        self.label_of_scores = self.classifier.decision.label_of_scores
        self.backend, self.controller = backend, follower
        self._settings, self._metrics = settings, metrics
        self._decode_seconds = metrics.decode_seconds.labels(self.name)
        items = CpuDecoder(self.classifier, settings, decoders, self._count_error)
        self._passing = build_passthrough(self.classifier, settings, items)
        self._decoder: Decoder = self._passing or items
        if image := self.classifier.spec.image:
            limits = ImageLimits(settings.max_image_bytes, settings.max_pixels)
            self._decoder = PixelBudget(
                self._decoder, image, limits, settings.request_pixels, decoders, self._count_error
            )

    @property
    def state(self) -> TriggerState:
        """The triggers that the next batch will use."""
        return self.backend.state

    @property
    def on_endpoint(self) -> bool:
        """Whether the model is only an address."""
        return isinstance(self.classifier.spec.loader, EndpointLoader)

    @property
    def fault(self) -> str | None:
        """Why not what was decided answers here, or another model than was wrapped; None if all is well."""
        endpoint = self.backend.endpoint
        return self.controller.fault or (endpoint.fault if endpoint else None)

    def prepare(self) -> None:
        """Apply the rollout, follow it from now on, and warm up. Waits for the store: not on the event loop."""
        self.controller.start()
        self.backend.warm()

    def start(self) -> None:
        """Start the backend. On the event loop."""
        self.backend.start()

    async def close(self, shutdown: Shutdown) -> None:
        """Finish what is queued and end the threads."""
        await shutdown.wait(f"the queue of {self.name}", self.backend.close())
        await shutdown.step(f"the rollout of {self.name}", self.controller.stop)

    async def predict(
        self, inputs: Sequence[PredictInput], *, actor: str, disconnect: WaitForDisconnect | None = None
    ) -> RequestResult:
        """Answer every input that can be used; `disconnect()` ends when the client leaves. On the event loop.

        Raises InputError, NotFound, ArtifactError, Overloaded, EndpointUnavailable, BatchFailed or ClientDisconnected
        for the whole request.
        """
        extras, rows = self._sampled(inputs)
        with self._admitted(rows) as lease:
            away = [version for version in self._versions(inputs) if not lease.hold(version)]
            if away:
                await asyncio.to_thread(self.controller.on_versions)
            for version in away:
                await self._load(lease, version, actor)
            return await self._answered(lease, inputs, extras, disconnect)

    async def _answered(
        self,
        lease: RequestLease,
        inputs: Sequence[PredictInput],
        extras: Sequence[ExtraPasses],
        disconnect: WaitForDisconnect | None,
    ) -> RequestResult:
        """Decode every input and compute those that could be decoded."""
        started = time.perf_counter()
        items = await self._decoder.decode(inputs)
        decode = time.perf_counter() - started
        self._metrics.tally.observe(self._decode_seconds, decode)
        batch_items = [
            BatchItem(item, one_input.choice, one_input.twin or extra.twin, routing_key(one_input.key), extra.shadows)
            for one_input, item, extra in zip(inputs, items, extras, strict=True)
            if not isinstance(item, InputError)
        ]
        answers, timings = await lease.submit(batch_items, disconnect) if batch_items else ([], [])
        for answer in answers:
            if isinstance(answer, InputError):
                self._count_error(answer.code)
        return RequestResult(_outcomes(inputs, items, answers), decode, timings)

    def _count_error(self, code: str) -> None:
        self._metrics.item_errors.labels(self.name, code).inc()

    def _sampled(self, inputs: Sequence[PredictInput]) -> tuple[list[ExtraPasses], int]:
        """Twins and shadows sampled for the inputs, none if half of the queue is taken; and the rows of all."""
        plan = self.state.plan
        extras = [
            sample_extra_passes(plan) if one_input.choice == "rollout" else NO_EXTRA_PASSES for one_input in inputs
        ]
        rows = sum([1 + one_input.twin for one_input in inputs])
        more = sum(
            [
                len(each.shadows) + (each.twin and not one_input.twin)
                for one_input, each in zip(inputs, extras, strict=True)
            ]
        )
        if more and self.backend.in_flight + rows + more > self.backend.capacity // 2:
            self._metrics.shed.labels(self.name).inc(more)
            return [NO_EXTRA_PASSES] * len(inputs), rows
        return extras, rows + more

    def _admitted(self, rows: int) -> RequestLease:
        """A lease for the request, before anything is decoded. Raises Overloaded or EndpointUnavailable."""
        try:
            return self.backend.admit(rows)
        except (Overloaded, EndpointUnavailable) as error:
            reason = "overloaded" if isinstance(error, Overloaded) else "endpoint_unavailable"
            self._metrics.rejected.labels(self.name, reason).inc()
            raise

    async def _load(self, lease: RequestLease, version: int, actor: str) -> None:
        """Load and hold a version for the request; a refusal is recorded in the history."""
        try:
            await lease.load(version)
        except ArtifactError as error:
            await asyncio.to_thread(self.controller.record_refusal, version, str(error), actor)
            raise

    def _versions(self, inputs: Sequence[PredictInput]) -> set[int]:
        """The versions that inputs name. Raises InputError if more than `_room`, or if there is no challenger."""
        choices = {one_input.choice for one_input in inputs}
        versions = {choice for choice in choices if isinstance(choice, int)}
        if len(versions) > 1 and len(versions) > (room := self._room()):  # there always is room for one
            message = f"The request names {len(versions)} trigger versions, more than {room}; name fewer."
            raise InputError("too_many_versions", message)
        if "challenger" in choices and not self.state.plan.challenger:
            raise InputError("no_challenger", "The rollout has no challenger now; ask for champion or a version.")
        return versions

    def _room(self) -> int:
        """Versions that fit into memory in addition to the plan's."""
        return self._settings.max_versions - max(1, len(self.state.plan.versions))

    @property
    def client_trigger(self) -> Literal["admin", "open"]:
        """Who may choose a trigger per request."""
        return self._settings.client_trigger

    @property
    def precision(self) -> str:
        """The precision of the forward pass: the one that the bundle declares, else the settings'."""
        declared = self.classifier.spec.precision
        return self._settings.precision if declared == "float32" else declared

    @property
    def decoder(self) -> Literal["cpu", "gpu"]:
        """Where images are decoded."""
        return "gpu" if self._passing else "cpu"

    def count_rollback(self, reason: str = "ordered") -> None:
        """Count a rollback made here; `reason` is one word."""
        self._metrics.rollbacks.labels(self.name, reason).inc()

    def limits(self) -> dict[str, int]:
        """The limits of a request, by name."""
        settings = self._settings
        common = {"items_per_request": settings.max_items_per_request, "body_bytes": settings.max_body_bytes}
        if self.classifier.spec.image:
            pixels = {"pixels": settings.max_pixels, "request_pixels": settings.request_pixels}
            return common | {"image_bytes": settings.max_image_bytes} | pixels
        assert self.classifier.spec.text
        return common | {"text_chars": settings.max_text_chars, "tokens": self.classifier.spec.text.max_tokens}


def _outcomes(
    inputs: Sequence[PredictInput], items: Sequence[DecodedOrEncoded], answers: Sequence[BatchResult]
) -> list[ItemResult]:
    remaining = iter(answers)
    outcomes = []
    for one_input, item in zip(inputs, items, strict=True):
        result = item if isinstance(item, InputError) else next(remaining)
        if isinstance(result, InputError):
            outcomes.append(ItemResult(one_input, error=result))
        else:
            truncated = isinstance(item, TokenIds) and item.truncated
            outcomes.append(ItemResult(one_input, answer=result, truncated=truncated))
    return outcomes
