"""One model while it is served: decoding, triggers, queue, rollout and counting put together.

wanted inputs -> decode each on its own -> batcher -> predictor, one forward pass -> predictions, counted
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, ExitStack
from typing import Literal, NamedTuple

from service.batcher import Overloaded
from service.counting import Counting
from service.decoding import decoding_for
from service.encoded import Passed, passing_for
from service.intake import Wanted
from service.item_decoder import ItemDecoder
from service.leaving import Gone
from service.metrics import Metrics
from service.parting import Shutdown
from service.parts import Parts
from service.pixel_budget import Decoder, PixelBudget
from service.policy import NO_EXTRAS, Extras, key_of, sample
from service.predictor import Answer, Query, Result
from service.problems import Problem, problem_of
from service.settings import Settings
from service.tickets import Timing
from triggers.errors import InputError
from triggers.preprocess import ImageLimits, TokenIds


class Outcome(NamedTuple):
    """One input's answer, or the problem that it has."""

    wanted: Wanted
    answer: Answer | None = None
    problem: Problem | None = None
    truncated: bool = False


class Served(NamedTuple):
    """All outcomes of a request, in order, and where the time went (seconds)."""

    outcomes: list[Outcome]
    decode: float
    timings: list[Timing]

    @property
    def queue(self) -> float:
        """The longest wait."""
        return max([timing.queue for timing in self.timings], default=0.0)

    @property
    def infer(self) -> float:
        """All forward passes that took part."""
        return sum([timing.infer for timing in self.timings])


class ServedModel:
    """A frozen classifier with its triggers, its queue and what follows its rollout."""

    def __init__(
        self, parts: Parts, settings: Settings, metrics: Metrics, counting: Counting, decoders: Executor
    ) -> None:
        self.name, self.classifier, self.counting = parts.name, parts.classifier, counting
        self.predictor, self.batcher, self.follower = parts.predictor, parts.batcher, parts.follower
        self._parts, self._settings, self._metrics = parts, settings, metrics
        self._decode_seconds = metrics.decode_seconds.labels(self.name)
        self._decoding = decoding_for(parts.classifier, settings, self._count_error)
        items = ItemDecoder(parts.classifier, settings, decoders, self._count_error)
        self._passing = passing_for(parts.classifier, settings, items)
        self._decoder: Decoder = self._decoding or self._passing or items
        if parts.classifier.spec.image:
            limits = ImageLimits(settings.max_image_bytes, settings.max_pixels)
            self._decoder = PixelBudget(self._decoder, limits, settings.request_pixels, decoders, self._count_error)

    def prepare(self) -> None:
        """Apply the rollout, follow it from now on, and warm up: what takes time before the first request."""
        self.follower.start()
        self._parts.warm()

    def start(self) -> None:
        """Start answering; inside the event loop."""
        if self._decoding:
            self._decoding.start()
        self._parts.start()

    async def close(self, shutdown: Shutdown) -> None:
        """Finish what is queued and end the threads."""
        if self._decoding:
            await shutdown.wait(f"the decoder of {self.name}", self._decoding.close())
        await shutdown.wait(f"the queue of {self.name}", self.batcher.close())
        await shutdown.step(f"the rollout of {self.name}", self.follower.stop)

    async def predict(self, wanted: Sequence[Wanted], *, actor: str, gone: Gone | None = None) -> Served:
        """Answer every input that can be used; `gone()` ends when the client goes away.

        Raises NotFound, ArtifactError, Overloaded, BatchFailed or Abandoned for the whole request.
        """
        extras, rows = self._sampled(wanted)
        with self._place(rows):
            versions = self._versions(wanted)
            if not versions:
                return await self._answered(wanted, extras, gone)
            pinned = [version for version in versions if self.predictor.pin(version)]
            try:
                if len(pinned) == len(versions):
                    return await self._answered(wanted, extras, gone)
                with ExitStack() as held:
                    await self._load(held, versions.difference(pinned), actor)
                    return await self._answered(wanted, extras, gone)
            finally:
                for version in pinned:
                    self.predictor.unpin(version)

    async def _answered(self, wanted: Sequence[Wanted], extras: Sequence[Extras], gone: Gone | None) -> Served:
        """Decode every input and compute those that could be decoded."""
        started = time.perf_counter()
        items = await self._decoder.decode(wanted)
        decode = time.perf_counter() - started
        self._metrics.tally.observe(self._decode_seconds, decode)
        queries = [
            Query(item, want.choice, want.twin or beside.twin, key_of(want.key), beside.shadows)
            for want, item, beside in zip(wanted, items, extras, strict=True)
            if not isinstance(item, InputError)
        ]
        answers, timings = await self.batcher.submit(queries, gone) if queries else ([], [])
        for answer in answers:
            if isinstance(answer, InputError):
                self._count_error(answer.code)
        return Served(_outcomes(wanted, items, answers), decode, timings)

    def _count_error(self, code: str) -> None:
        self._metrics.item_errors.labels(self.name, code).inc()

    def _sampled(self, wanted: Sequence[Wanted]) -> tuple[list[Extras], int]:
        """What is measured beside the inputs, as long as half of the queue is free; the rows of all together."""
        plan = self.predictor.snapshot.plan
        extras = [sample(plan) if want.choice == "rollout" else NO_EXTRAS for want in wanted]
        rows = sum([1 + want.twin for want in wanted])
        more = sum(
            [len(each.shadows) + (each.twin and not want.twin) for want, each in zip(wanted, extras, strict=True)]
        )
        if more and self.batcher.placed + rows + more > self.batcher.capacity // 2:
            self._metrics.shed.labels(self.name).inc(more)
            return [NO_EXTRAS] * len(wanted), rows
        return extras, rows + more

    def _place(self, rows: int) -> AbstractContextManager[None]:
        """Reserve rows before anything is decoded."""
        try:
            return self.batcher.place(rows)
        except Overloaded:
            self._metrics.rejected.labels(self.name, "overloaded").inc()
            raise

    async def _load(self, held: ExitStack, versions: Iterable[int], actor: str) -> None:
        """Bring versions into memory, on a thread, for as long as the request needs them."""
        for version in versions:
            await asyncio.to_thread(held.enter_context, self.follower.admit(version, actor=actor))

    def _versions(self, wanted: Sequence[Wanted]) -> set[int]:
        """The versions that are named explicitly; more than fit into memory beside the rollout's cannot be served."""
        choices = {want.choice for want in wanted}
        versions = {choice for choice in choices if isinstance(choice, int)}
        if len(versions) > 1 and len(versions) > (room := self._room()):  # there always is room for one
            message = f"The request names {len(versions)} trigger versions, more than {room}; name fewer."
            raise InputError("too_many_versions", message)
        if "challenger" in choices and not self.predictor.snapshot.plan.challenger:
            raise InputError("no_challenger", "The rollout has no challenger now; ask for champion or a version.")
        return versions

    def _room(self) -> int:
        """Versions that fit into memory beside the rollout's."""
        return self._settings.max_versions - max(1, len(self.predictor.snapshot.plan.versions))

    @property
    def client_trigger(self) -> Literal["admin", "open"]:
        """Who may choose a trigger per request."""
        return self._settings.client_trigger

    @property
    def precision(self) -> str:
        """What the model computes in."""
        return self._settings.precision

    @property
    def decoder(self) -> Literal["cpu", "gpu"]:
        """What decodes images."""
        return "gpu" if self._decoding or self._passing else "cpu"

    def count_rollback(self, reason: str = "ordered") -> None:
        """A rollback was made here; `reason` says in one word by what."""
        self._metrics.rollbacks.labels(self.name, reason).inc()

    def limits(self) -> dict[str, int]:
        """What a client has to keep to."""
        settings = self._settings
        common = {"items_per_request": settings.max_items_per_request, "body_bytes": settings.max_body_bytes}
        if self.classifier.spec.image:
            pixels = {"pixels": settings.max_pixels, "request_pixels": settings.request_pixels}
            return common | {"image_bytes": settings.max_image_bytes} | pixels
        assert self.classifier.spec.text
        return common | {"text_chars": settings.max_text_chars, "tokens": self.classifier.spec.text.max_tokens}


def _outcomes(wanted: Sequence[Wanted], items: Sequence[Passed], answers: Sequence[Result]) -> list[Outcome]:
    remaining = iter(answers)
    outcomes = []
    for want, item in zip(wanted, items, strict=True):
        result = item if isinstance(item, InputError) else next(remaining)
        if isinstance(result, InputError):
            outcomes.append(Outcome(want, problem=problem_of(result)))
        else:
            truncated = isinstance(item, TokenIds) and item.truncated
            outcomes.append(Outcome(want, answer=result, truncated=truncated))
    return outcomes
