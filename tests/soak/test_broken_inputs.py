"""Broken images and texts, 200,000 of them (SOAK_INPUTS): each is answered or refused alone, and none is a 5xx.

Nearly all go to the code that decodes; one in twenty goes over HTTP, in batches with whole inputs beside it.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import TypeVar

import httpx
import pytest
import torch

from tests.mutations import broken_bytes, broken_file, broken_text, image_files
from tests.service.live import as_item, picture, running, settings
from triggers.errors import InputError
from triggers.model import FrozenClassifier
from triggers.preprocessing import ImageLimits, ImageSpec
from triggers.preprocessing.image_files import claimed_size, read_image
from triggers.preprocessing.image_pipeline import run_pipeline
from triggers.preprocessing.jpeg import plain_size
from triggers.preprocessing.preprocess import decode_image
from triggers.preprocessing.text_content import decode_text
from triggers.store.file_store import FileStore

pytestmark = [
    pytest.mark.soak,
    pytest.mark.slow,
    pytest.mark.timeout(0),
    pytest.mark.filterwarnings("ignore::UserWarning:PIL.*"),
]
INPUTS = int(os.environ.get("SOAK_INPUTS", "200000"))
SPEC = ImageSpec.square(24, (0.5,) * 3, (0.25,) * 3)
LIMITS = ImageLimits(max_pixels=4_000_000)
MOST_SECONDS = 5.0
"""Seconds that one input may take on a busy machine."""
BROKEN, WHOLE = 30, 10
"""Inputs of a request."""
CHARSETS = ("utf-8", "utf-8", "utf-16-le", "utf-16", "latin-1")
REFUSALS = {"not_an_image", "image_undecodable", "animated_image", "unknown_range", "image_too_many_pixels"}
TEXT_REFUSALS = {"empty_text", "not_text", "bad_encoding"}

_T = TypeVar("_T")


@contextmanager
def quiet() -> Iterator[None]:
    """What libtiff and libjpeg write about each file goes nowhere."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def decoded(data: bytes) -> torch.Tensor | str:
    try:
        return decode_image(data, SPEC, LIMITS)
    except InputError as error:
        return error.code


def by_pillow(data: bytes) -> torch.Tensor | str:
    try:
        return run_pipeline(read_image(data, SPEC.channels, SPEC.alpha, LIMITS), SPEC)
    except InputError as error:
        return error.code


def same(a: torch.Tensor | str, b: torch.Tensor | str) -> bool:
    return torch.equal(a, b) if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor) else a == b


def test_broken_images() -> None:
    files, count, slowest, began = image_files(), Counter[str](), 0.0, time.monotonic()
    with quiet():
        for seed in range(INPUTS * 6 // 10):
            data, started = broken_file(Random(seed), files), time.perf_counter()
            found = decoded(data)
            slowest = max(slowest, time.perf_counter() - started)
            if isinstance(found, torch.Tensor):
                assert found.shape == (3, 24, 24) and claimed_size(data, LIMITS) is not None, seed
            if plain_size(data):
                assert same(found, by_pillow(data)), f"seed {seed}: the quick decoder differs"
            count["answered" if isinstance(found, torch.Tensor) else found] += 1
    print(f"\n{count.total()} images, {time.monotonic() - began:.0f} s, slowest {slowest:.2f} s: {dict(count)}")
    assert set(count) <= REFUSALS | {"answered"} and slowest < MOST_SECONDS


def test_broken_texts(text_model: FrozenClassifier) -> None:
    count, began = Counter[str](), time.monotonic()
    for seed in range(INPUTS * 35 // 100):
        random = Random(seed)
        try:
            text = broken_text(random) if seed % 2 else decode_text(broken_bytes(random), random.choice(CHARSETS))
            assert text_model.preprocess(text)
            count["answered"] += 1
        except InputError as error:
            count[error.code] += 1
    print(f"\n{count.total()} texts, {time.monotonic() - began:.0f} s: {dict(count)}")
    assert set(count) <= TEXT_REFUSALS | {"answered"}


def mixed(random: Random, broken: Sequence[_T], whole: _T) -> list[_T]:
    """Broken inputs with whole ones at random places."""
    inputs = [*broken, *[whole] * WHOLE]
    random.shuffle(inputs)
    return inputs


def ask(client: httpx.Client, random: Random, files: Sequence[bytes], kind: int) -> tuple[httpx.Response, list[bool]]:
    """One request of each of three kinds; the response, and which of its inputs are whole."""
    if kind == 0:
        images = mixed(random, [broken_file(random, files) for _ in range(BROKEN)], good := picture(1))
        body = {"inputs": [as_item(each) for each in images]}
        return client.post("/v1/models/faces/predict", json=body), [each is good for each in images]
    if kind == 1:
        texts = mixed(random, [broken_text(random) for _ in range(BROKEN)], "what a lovely day")
        content = json.dumps({"inputs": [{"text": each} for each in texts]})
        headers = {"Content-Type": "application/json"}
        response = client.post("/v1/models/posts/predict", content=content, headers=headers)
        return response, [each == "what a lovely day" for each in texts]
    parts = mixed(random, [broken_bytes(random) for _ in range(BROKEN)], good := b"what a lovely day")
    forms = [
        ("text", ("x.txt", each, f"text/plain; charset={'utf-8' if each is good else 'utf-16-le'}")) for each in parts
    ]
    return client.post("/v1/models/posts/predict", files=forms), [each is good for each in parts]


def test_broken_inputs_over_http(tmp_path: Path, image_model: FrozenClassifier, text_model: FrozenClassifier) -> None:
    files, count, began = image_files(), Counter[str](), time.monotonic()
    chosen = settings(tmp_path, max_items_per_request=BROKEN + WHOLE)
    with quiet(), FileStore(tmp_path / "store") as store, running(chosen, store, [image_model, text_model]) as client:
        for number in range(-(-INPUTS // 20 // BROKEN)):
            response, whole = ask(client, Random(number), files, number % 3)
            assert response.status_code == 200, (number, response.text[:500])
            predictions = response.json()["predictions"]
            for prediction, good in zip(predictions, whole, strict=True):
                error = prediction.get("error", {"status": 200, "code": "answered"})
                assert error["status"] < 500 and (not good or "error" not in prediction), (number, prediction)
                count["whole" if good else error["code"]] += 1
        assert client.get("/healthz").json() == {"alive": True}
    print(f"\n{count.total()} inputs over HTTP, {time.monotonic() - began:.0f} s: {dict(count)}")
    assert set(count) <= REFUSALS | TEXT_REFUSALS | {"answered", "whole"}
