"""What two processes share: slots of memory, and messages over a socket."""

from __future__ import annotations

import asyncio
import mmap
import os
import socket
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from service.engine.batching.pending_requests import BatchTiming
from service.engine.predictor import BatchItem, Scored
from service.engine.types import EncodedFile
from service.errors import BatchFailed, Overloaded
from service.workers.engine_client import EngineClient
from service.workers.ipc.message_stream import Message, MessageStream, receive_hello, send_hello
from service.workers.ipc.messages import (
    pack_error,
    pack_queries,
    pack_results,
    unpack_error,
    unpack_queries,
    unpack_results,
)
from service.workers.ipc.shared_memory_inputs import SharedSlots, SlotLayout, shared_memory
from tests.bundles import oblong_bundle
from triggers.errors import ArtifactMismatch, InputError, ModelError, NotFound
from triggers.model import FrozenClassifier, load_bundle
from triggers.preprocessing.preprocess import TokenIds


def both_sides(classifier: FrozenClassifier, count: int) -> tuple[SharedSlots, SharedSlots]:
    """The same slots, as two processes that mapped them see them."""
    region = SlotLayout.of(classifier.spec, count, 0)
    descriptor = shared_memory(region.end)
    try:
        views = [SharedSlots(mmap.mmap(descriptor, region.end), region) for _ in range(2)]
    finally:
        os.close(descriptor)
    return views[0], views[1]


def test_images_and_texts_arrive_as_they_were(image_model: FrozenClassifier, text_model: FrozenClassifier) -> None:
    pixels = torch.randint(0, 256, (3, 16, 16), dtype=torch.uint8)
    decoded = torch.randint(0, 256, (16, 16, 3), dtype=torch.uint8).permute(2, 0, 1)  # as a JPEG comes
    words = TokenIds((2, 9, 4, 70_000, 3), truncated=False)
    longest = TokenIds(tuple(range(24)), truncated=False)
    for classifier, items in ((image_model, [pixels, decoded]), (text_model, [words, longest])):
        here, there = both_sides(classifier, 3)
        queries = [BatchItem(items[0], key=2**64 - 1), BatchItem(items[1], choice=7, twin=True, shadows=(3, 4))]
        taken = here.take(2)
        assert taken is not None
        got = unpack_queries(pack_queries(queries, here, taken), there)
        assert [(query.choice, query.twin) for query in got] == [("rollout", False), (7, True)]
        assert [(query.key, query.shadows) for query in got] == [(2**64 - 1, ()), (0, (3, 4))]
        for query, item in zip(got, items, strict=True):
            assert torch.equal(query.item, item) if isinstance(item, torch.Tensor) else query.item == item  # type: ignore[arg-type]


def test_images_that_are_not_square_arrive_as_they_were(tmp_path: Path) -> None:
    here, there = both_sides(load_bundle(oblong_bundle(tmp_path / "oblong")), 2)
    pixels = torch.randint(0, 256, (3, 24, 40), dtype=torch.uint8)
    assert torch.equal(there.read(1, here.write(1, pixels)), pixels)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=r"\(3, 40, 24\) is none of \(3, 24, 40\)"):
        here.write(0, pixels.mT)


def test_a_slot_belongs_to_one_request_until_it_is_given_back(image_model: FrozenClassifier) -> None:
    slots, _ = both_sides(image_model, 3)
    first = slots.take(2)
    assert first is not None and len(set(first)) == 2
    assert slots.take(2) is None
    second = slots.take(1)
    assert second is not None and not set(second) & set(first)
    slots.release(first)
    assert slots.take(2) is not None


def test_an_input_that_does_not_fit_is_refused_and_its_neighbours_stay(
    image_model: FrozenClassifier, text_model: FrozenClassifier
) -> None:
    longer = TokenIds(tuple(range(25)), truncated=False)
    smaller = torch.ones(3, 1, 16, dtype=torch.uint8)  # copied as it is, it would be repeated
    file = EncodedFile(bytes(3 * 16 * 16 + 1))
    for classifier, item in ((text_model, longer), (image_model, smaller), (image_model, file)):
        slots, other = both_sides(classifier, 2)
        with pytest.raises(ModelError, match=r"(does not fit|is none of)"):
            slots.write(0, item)
        for slot, length in ((0, -(3 * 16 * 16 + 1)), (2, -4), (-1, -4)):
            with pytest.raises(ModelError, match="does not fit"):
                other.read(slot, length)


class Sent:
    """A wire that is up and keeps what it was given."""

    open = True

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def send(self, message: Message) -> None:
        """Keep it."""
        self.messages.append(message)


def test_places_of_queries_that_cannot_be_sent_are_free_again(image_model: FrozenClassifier) -> None:
    async def scenario() -> None:
        slots, _ = both_sides(image_model, 4)
        link, wire = EngineClient("cpu", lambda: None), Sent()
        link._slots, link._stream = {"faces": slots}, wire  # type: ignore[assignment]
        good, bad = (BatchItem(torch.zeros(3, size, size, dtype=torch.uint8)) for size in (16, 8))
        for _ in range(3):
            with pytest.raises((ModelError, RuntimeError)):
                link.predict_nowait("faces", [good, bad])
        assert wire.messages == []
        link.predict_nowait("faces", [good] * 4)
        with pytest.raises(Overloaded):
            link.predict_nowait("faces", [good])

    asyncio.run(scenario())


def test_regions_of_several_models_do_not_overlap(image_model: FrozenClassifier, text_model: FrozenClassifier) -> None:
    first = SlotLayout.of(image_model.spec, 5, 0)
    second = SlotLayout.of(text_model.spec, 5, first.end)
    assert first.start + first.size * first.count <= second.start
    assert second.start % mmap.PAGESIZE == 0
    assert SlotLayout(**asdict(second)) == second


def test_answers_and_errors_survive_the_way() -> None:
    answers = [
        Scored((0.1, 0.9), 3, "sha256:ab", 4, (0.25, 0.75), "pinned", {5: (0.5, 0.5)}),
        Scored((1.0, 0.0), None, None, 4),
    ]
    timings = [BatchTiming(0.001, 0.002, 32)]
    assert unpack_results(pack_results(answers, timings)) == (answers, timings)
    full = unpack_error(pack_error(Overloaded("full", 7)))
    assert isinstance(full, Overloaded) and (str(full), full.retry_after) == ("full", 7)
    for error in (NotFound("no v9"), ArtifactMismatch("another model"), BatchFailed("broken")):
        again = unpack_error(pack_error(error))
        assert (type(again), str(again)) == (type(error), str(error))
    assert isinstance(unpack_error(pack_error(InputError("odd", "unexpected here"))), BatchFailed)
    with pytest.raises(NotFound, match="no v9"):
        unpack_results({"error": pack_error(NotFound("no v9"))})


def test_messages_are_cut_where_they_were_joined() -> None:
    got: list[Message] = []
    messages: list[Message] = [{"id": n, "text": "x" * (n * 1000)} for n in range(200)]

    async def scenario() -> None:
        one, other = socket.socketpair()
        lost = asyncio.Event()
        sender, receiver = MessageStream(got.append, lambda: None), MessageStream(got.append, lost.set)
        await sender.connect(one)
        await receiver.connect(other)
        for message in messages:
            sender.send(message)
        sender.close()
        await asyncio.wait_for(lost.wait(), 10)
        assert not receiver.open
        receiver.send({"id": 0})  # to nobody

    asyncio.run(scenario())
    assert got == messages


def test_hello_brings_an_open_file_and_its_absence_is_noticed() -> None:
    one, other = socket.socketpair()
    with one, other:
        descriptor = shared_memory(mmap.PAGESIZE)
        os.pwrite(descriptor, b"shared", 0)
        send_hello(one, {"memory": mmap.PAGESIZE, "text": "x" * 5000}, descriptor)
        os.close(descriptor)
        hello, received = receive_hello(other)
        assert (hello["memory"], os.pread(received, 6, 0)) == (mmap.PAGESIZE, b"shared")
        os.close(received)
        one.close()
        with pytest.raises(EOFError):
            receive_hello(other)
