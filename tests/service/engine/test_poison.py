"""One bad image among 32, again and again: in one request, and as 32 requests that share batches."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.service.live import as_item, picture

PREDICT = "/v1/models/faces/predict"
GOOD = [picture(seed) for seed in range(31)]
BAD = (b"not an image", picture(0)[:60], b"\x89PNG\r\n\x1a\n" + b"\0" * 40, b"")


def mixed(draw: random.Random) -> tuple[list[bytes], int]:
    """The good pictures with a bad one somewhere between them."""
    place = draw.randrange(32)
    return [*GOOD[:place], draw.choice(BAD), *GOOD[place:]], place


@pytest.fixture
def expected(strict: httpx.Client) -> list[dict[str, float]]:
    """What each good picture alone is answered."""
    return [strict.post(PREDICT, json={"inputs": [as_item(data)]}).json()["predictions"][0]["scores"] for data in GOOD]


def test_31_right_answers_in_one_request_100_times(strict: httpx.Client, expected: list[dict[str, float]]) -> None:
    draw = random.Random(1)
    for _ in range(100):
        inputs, place = mixed(draw)
        answers = strict.post(PREDICT, json={"inputs": [as_item(data) for data in inputs]}).json()["predictions"]
        assert 400 <= answers.pop(place)["error"]["status"] < 500
        for answer, scores in zip(answers, expected, strict=True):
            assert answer["scores"] == pytest.approx(scores, abs=1e-5)


@pytest.mark.parametrize("repeats", [5, pytest.param(100, marks=pytest.mark.soak)])
def test_31_right_answers_in_32_requests_at_once(
    strict: httpx.Client, expected: list[dict[str, float]], repeats: int
) -> None:
    draw = random.Random(2)

    def send(data: bytes) -> httpx.Response:
        return strict.post(PREDICT, content=data, headers={"Content-Type": "image/png"})

    with ThreadPoolExecutor(32) as clients:
        for _ in range(repeats):
            inputs, place = mixed(draw)
            answers = list(clients.map(send, inputs))
            assert 400 <= answers.pop(place).status_code < 500
            for answer, scores in zip(answers, expected, strict=True):
                assert answer.json()["predictions"][0]["scores"] == pytest.approx(scores, abs=1e-5)
