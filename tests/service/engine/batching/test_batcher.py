"""The batcher with real threads and a real event loop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from service.engine.batching.batcher import Batcher
from service.engine.batching.inline_batcher import InlineBatcher
from service.engine.client_disconnect import WATCH_DELAY_SECONDS
from service.errors import BatchFailed, ClientDisconnected, Overloaded
from triggers.errors import EndpointFailed, EndpointUnavailable, FairtriggerError


@dataclass(frozen=True)
class Number:
    """An item whose result is its square; 13 makes the whole batch fail."""

    value: int
    cost: int = 1


class Gate:
    """A `run` that records its batches and waits, while closed, for the test to open it."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.opened = threading.Event()
        self.entered = threading.Semaphore(0)
        self.opened.set()

    def __call__(self, items: Sequence[Number]) -> list[int]:
        self.batches.append([item.value for item in items])
        self.entered.release()
        assert self.opened.wait(10)
        if any(item.value == 13 for item in items):
            raise ValueError("thirteen")
        return [item.value**2 for item in items]

    async def wait_until_entered(self) -> None:
        """Return when the next batch is in the hands of the inference thread."""
        assert await asyncio.to_thread(self.entered.acquire, timeout=10)


@asynccontextmanager
async def batching(
    gate: Gate, *, max_batch: int = 4, capacity: int = 100, on_dropped: Callable[[int], None] = lambda items: None
) -> AsyncIterator[Batcher[Number, int]]:
    batcher: Batcher[Number, int] = Batcher(
        gate, name="test", max_batch=max_batch, capacity=capacity, on_dropped=on_dropped
    )
    batcher.start()
    try:
        yield batcher
    finally:
        gate.opened.set()
        await batcher.close()
        assert not batcher.alive


def numbers(*values: int) -> list[Number]:
    return [Number(value) for value in values]


async def squares(batcher: Batcher[Number, int], *values: int) -> list[int]:
    results, _ = await batcher.submit(numbers(*values))
    return results


async def closed_on(gate: Gate, batcher: Batcher[Number, int]) -> asyncio.Task[list[int]]:
    """Close the gate and let one request run into it."""
    gate.opened.clear()
    first = asyncio.create_task(squares(batcher, 1))
    await gate.wait_until_entered()
    return first


def test_what_queued_while_a_batch_ran_is_the_next_batch() -> None:
    async def scenario(gate: Gate) -> None:
        async with batching(gate) as batcher:
            first = await closed_on(gate, batcher)
            others = [asyncio.create_task(squares(batcher, n)) for n in (2, 3, 4)]
            await asyncio.sleep(0)
            assert batcher.queued == 3
            gate.opened.set()
            assert [await task for task in (first, *others)] == [[1], [4], [9], [16]]
            assert batcher.queued == 0

    gate = Gate()
    asyncio.run(scenario(gate))
    assert gate.batches == [[1], [2, 3, 4]]


def test_a_request_larger_than_a_batch_is_answered_in_order() -> None:
    async def scenario(gate: Gate) -> None:
        async with batching(gate) as batcher:
            results, timings = await batcher.submit(numbers(*range(20, 30)))
            assert results == [n * n for n in range(20, 30)]
            assert [timing.batch_size for timing in timings] == [4, 4, 2]
            assert all(timing.queue >= 0 and timing.infer >= 0 for timing in timings)

    asyncio.run(scenario(Gate()))


def test_rows_count_towards_the_batch_not_items() -> None:
    async def scenario(gate: Gate) -> None:
        async with batching(gate, max_batch=3) as batcher:
            await batcher.submit([Number(n, cost=2) for n in (1, 2, 3)])

    gate = Gate()
    asyncio.run(scenario(gate))
    assert gate.batches == [[1], [2], [3]]


def test_without_a_place_a_request_is_refused_at_once_and_told_when_to_retry() -> None:
    async def scenario(gate: Gate) -> None:
        async with batching(gate, capacity=3) as batcher:
            with batcher.reserve(2):
                with pytest.raises(Overloaded, match="2 rows are in work already") as refused, batcher.reserve(2):
                    pass
                assert 1 <= refused.value.retry_after <= 60
                with batcher.reserve(1):
                    assert await squares(batcher, 4, 5) == [16, 25]
            with batcher.reserve(3):
                pass

    asyncio.run(scenario(Gate()))


def test_items_of_a_client_that_went_away_are_not_computed() -> None:
    dropped: list[int] = []

    async def scenario(gate: Gate) -> None:
        async with batching(gate, on_dropped=dropped.append) as batcher:
            first = await closed_on(gate, batcher)
            leave = asyncio.Event()

            async def gone() -> None:
                await leave.wait()

            lost = asyncio.create_task(batcher.submit(numbers(5, 6), gone))
            kept = asyncio.create_task(squares(batcher, 7))
            await asyncio.sleep(2 * WATCH_DELAY_SECONDS)
            leave.set()
            with pytest.raises(ClientDisconnected):
                await lost
            gate.opened.set()
            assert [await first, await kept] == [[1], [49]]
            assert batcher.queued == 0

    gate = Gate()
    asyncio.run(scenario(gate))
    assert gate.batches == [[1], [7]]
    assert dropped == [2]


def test_a_cancelled_task_stays_cancelled() -> None:
    async def scenario(gate: Gate) -> None:
        async with batching(gate) as batcher:
            first = await closed_on(gate, batcher)
            task = asyncio.create_task(squares(batcher, 2))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            gate.opened.set()
            assert await first == [1]

    asyncio.run(scenario(Gate()))


def test_a_failing_request_fails_alone() -> None:
    async def scenario(gate: Gate) -> None:
        async with batching(gate) as batcher:
            first = await closed_on(gate, batcher)
            good, bad, other = (asyncio.create_task(squares(batcher, *values)) for values in ((2,), (13, 3), (4,)))
            await asyncio.sleep(0)
            gate.opened.set()
            assert [await first, await good, await other] == [[1], [4], [16]]
            with pytest.raises(BatchFailed):
                await bad

    gate = Gate()
    asyncio.run(scenario(gate))
    assert gate.batches == [[1], [2, 13, 3, 4], [2], [13, 3], [4]]


def test_the_rest_of_a_failing_request_is_not_computed() -> None:
    async def scenario(gate: Gate) -> None:
        async with batching(gate) as batcher:
            with pytest.raises(BatchFailed):
                await squares(batcher, 1, 13, 3, 4, 5, 6)
            assert batcher.queued == 0
            assert await squares(batcher, 2) == [4]

    gate = Gate()
    asyncio.run(scenario(gate))
    assert gate.batches == [[1, 13, 3, 4], [2]]


def test_closing_answers_what_is_queued_and_refuses_the_rest() -> None:
    async def scenario(gate: Gate) -> None:
        async with batching(gate) as batcher:
            first = await closed_on(gate, batcher)
            queued = asyncio.create_task(squares(batcher, 2))
            await asyncio.sleep(0)
            closing = asyncio.create_task(batcher.close())
            await asyncio.sleep(0.01)
            with pytest.raises(Overloaded, match="shutting down"):
                await squares(batcher, 3)
            gate.opened.set()
            await closing
            assert [await first, await queued] == [[1], [4]]

    asyncio.run(scenario(Gate()))


def test_an_idle_batcher_uses_no_time() -> None:
    async def scenario(gate: Gate) -> None:
        async with batching(gate):
            before = time.process_time()
            await asyncio.sleep(0.5)
            assert time.process_time() - before < 0.1

    asyncio.run(scenario(Gate()))


def test_what_one_turn_of_the_loop_brings_is_one_batch() -> None:
    async def scenario(gate: Gate) -> None:
        async with batching(gate) as batcher:
            await asyncio.gather(*(squares(batcher, n) for n in (2, 3, 4)))

    gate = Gate()
    asyncio.run(scenario(gate))
    assert gate.batches == [[2, 3, 4]]


class Threads:
    """A `run` that notes where it runs; a value above 99 takes so many milliseconds of processor time."""

    def __init__(self) -> None:
        self.where: list[threading.Thread] = []
        self.batches: list[list[int]] = []

    def __call__(self, items: Sequence[Number]) -> list[int]:
        self.where.append(threading.current_thread())
        self.batches.append([item.value for item in items])
        end = time.thread_time() + max(item.value for item in items) / 1e3
        while end - time.thread_time() > 0.099:
            pass
        return [item.value**2 for item in items]


@asynccontextmanager
async def inline(run: Threads | Gate) -> AsyncIterator[Batcher[Number, int]]:
    batcher: InlineBatcher[Number, int] = InlineBatcher(run, name="test", max_batch=4, capacity=100)
    batcher.start()
    yield batcher
    await batcher.close()
    assert not batcher.alive


def test_a_small_model_runs_on_the_event_loop() -> None:
    async def scenario() -> None:
        run = Threads()
        async with inline(run) as batcher:
            assert await squares(batcher, *range(1, 11)) == [n * n for n in range(1, 11)]
            assert run.batches == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10]]
            assert set(run.where) == {threading.main_thread()}

    asyncio.run(scenario())


def test_other_events_come_between_two_batches_on_the_event_loop() -> None:
    async def scenario() -> None:
        run, seen = Threads(), list[int]()
        async with inline(run) as batcher:
            task = asyncio.create_task(squares(batcher, *range(1, 11)))
            while not task.done():
                seen.append(len(run.batches))
                await asyncio.sleep(0)
        assert {1, 2, 3} <= set(seen)

    asyncio.run(scenario())


def test_a_model_that_turns_out_slow_gets_its_thread() -> None:
    async def scenario() -> None:
        run = Threads()
        async with inline(run) as batcher:
            for values in ([150], [150], [7], [150], [150], [150, 0, 1, 2, 3, 4], [7]):
                assert await squares(batcher, *values) == [n * n for n in values]
            here = [thread is threading.main_thread() for thread in run.where]
            assert here == [True] * 6 + [False] * 2, "one fast batch begins anew; the third slow one in a row ends it"

    asyncio.run(scenario())


def test_only_the_request_at_fault_fails_on_the_event_loop_too() -> None:
    async def scenario() -> None:
        async with inline(Gate()) as batcher:
            tasks = [asyncio.create_task(squares(batcher, n)) for n in (2, 13, 3)]
            found = await asyncio.gather(*tasks, return_exceptions=True)
            assert [found[0], found[2]] == [[4], [9]] and isinstance(found[1], BatchFailed)

    asyncio.run(scenario())


def test_closing_finishes_what_was_queued_for_the_event_loop() -> None:
    async def scenario() -> None:
        run = Threads()
        async with inline(run) as batcher:
            waiting = asyncio.create_task(squares(batcher, *range(1, 11)))
            await asyncio.sleep(0)
        assert await waiting == [n * n for n in range(1, 11)]

    asyncio.run(scenario())


def test_requests_of_successive_turns_make_one_batch() -> None:
    async def scenario() -> None:
        run = Threads()
        async with inline(run) as batcher:
            tasks = []
            for n in (1, 2, 3):
                tasks.append(asyncio.create_task(squares(batcher, n)))
                await asyncio.sleep(0)
            assert await asyncio.gather(*tasks) == [[1], [4], [9]]
            assert run.batches == [[1, 2, 3]]
            assert await squares(batcher, 5) == [25], "and one alone does not wait"

    asyncio.run(scenario())


def test_with_two_lanes_parts_that_end_in_another_order_make_one_answer_in_order() -> None:
    async def scenario() -> None:
        second = threading.Event()

        def run(items: Sequence[Number]) -> list[int]:
            if items[0].value == 1:
                assert second.wait(10), "the other lane takes what is left meanwhile"
            else:
                second.set()
            return [item.value**2 for item in items]

        batcher: Batcher[Number, int] = Batcher(run, name="test", max_batch=4, capacity=100, lanes=2)
        batcher.start()
        results, timings = await batcher.submit(numbers(*range(1, 7)))
        assert results == [n * n for n in range(1, 7)] and sorted(each.batch_size for each in timings) == [2, 4]
        await batcher.close()
        assert not batcher.alive

    asyncio.run(scenario())


def test_two_lanes_answer_many_requests_each_with_its_own() -> None:
    async def scenario() -> None:
        gate = Gate()
        batcher: Batcher[Number, int] = Batcher(gate, name="test", max_batch=7, capacity=2000, lanes=2)
        batcher.start()
        asked = [tuple(range(start, start + 1 + start % 11)) for start in range(20, 120)]
        found = await asyncio.gather(*(squares(batcher, *values) for values in asked))
        assert found == [[n * n for n in values] for values in asked]
        assert max(map(len, gate.batches)) == 7
        await batcher.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("error", "runs"),
    [
        (EndpointUnavailable("away"), 1),
        (EndpointFailed("nonsense"), 1),
        (EndpointFailed("no such model", 404), 1),
        (EndpointFailed("bad row", 422), 4),
        (ValueError("thirteen"), 4),
    ],
)
def test_an_endpoint_at_fault_is_not_asked_again_one_by_one(error: Exception, runs: int) -> None:
    asked: list[int] = []

    def run(items: Sequence[Number]) -> list[int]:
        asked.append(len(items))
        raise error

    async def submitted() -> list[object]:
        batcher: Batcher[Number, int] = Batcher(run, name="test", max_batch=4, capacity=100)
        batcher.start()
        outcomes = await asyncio.gather(*(batcher.submit(numbers(n)) for n in range(3)), return_exceptions=True)
        await batcher.close()
        return list(outcomes)

    outcomes = asyncio.run(submitted())
    assert asked == [3, *[1] * (runs - 1)]
    expected = type(error) if isinstance(error, FairtriggerError) else BatchFailed
    assert [type(outcome) for outcome in outcomes] == [expected] * 3
