"""Replays held-out inputs to the service as its clients would: predictions now, true labels and groups later."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx

T = TypeVar("T")


@dataclass(frozen=True)
class Sample:
    """One held-out input with what becomes known about it: image bytes or a text, its label's name, its group."""

    content: bytes | str
    label: str
    group: str

    def as_input(self) -> dict[str, str]:
        """The entry of `inputs` in a predict request."""
        if isinstance(self.content, bytes):
            return {"image": base64.b64encode(self.content).decode()}
        return {"text": self.content}


@dataclass(frozen=True)
class Answered:
    """A sample, and the id under which its label and group are told later."""

    sample: Sample
    prediction_id: str
    version: int | None


def predict(
    client: httpx.Client,
    model: str,
    samples: Sequence[Sample],
    *,
    batch_size: int = 16,
    twin: bool = False,
    advance: Callable[[int], object] = lambda done: None,
) -> list[Answered]:
    """Send every sample, `batch_size` a request; `advance(n)` hears of progress. Raises httpx.HTTPStatusError."""
    answered: list[Answered] = []
    for part in batches(samples, batch_size):
        body = {"inputs": [sample.as_input() for sample in part], "twin": twin}
        answer = checked(client.post(f"/v1/models/{model}/predict", json=body)).json()
        for sample, prediction in zip(part, answer["predictions"], strict=True):
            answered.append(Answered(sample, prediction["prediction_id"], prediction["trigger"]["version"]))
        advance(len(part))
    return answered


def tell(
    client: httpx.Client,
    model: str,
    answered: Sequence[Answered],
    *,
    advance: Callable[[int], object] = lambda done: None,
) -> None:
    """Send the true label and the group of every prediction, late, as feedback."""
    for part in batches(answered, 500):
        body = [{"prediction_id": a.prediction_id, "label": a.sample.label, "group": a.sample.group} for a in part]
        results = checked(client.post(f"/v1/models/{model}/feedback", json=body)).json()["results"]
        refused = [result for result in results if result["status"] == "refused"]
        if refused:
            raise RuntimeError(f"{len(refused)} of {len(part)} pieces of feedback were refused: {refused[0]}")
        advance(len(part))


def swap(client: httpx.Client, model: str, version: str | None, *, token: str, reason: str) -> dict[str, Any]:
    """Make a version (None: no trigger) the champion, by compare-and-set, and return the new rollout."""
    path = f"/v1/models/{model}/rollout"
    etag = checked(client.get(path)).headers["etag"]
    headers = {"Authorization": f"Bearer {token}", "If-Match": etag}
    rollout: dict[str, Any] = checked(
        client.put(path, json={"champion": version, "reason": reason}, headers=headers)
    ).json()
    return rollout


def fairness(client: httpx.Client, model: str, window: str = "all") -> dict[str, Any]:
    """The service's own statistics per version."""
    params = {"window": window, "by": "version"}
    document: dict[str, Any] = checked(client.get(f"/v1/models/{model}/fairness", params=params)).json()
    return document


def checked(response: httpx.Response) -> httpx.Response:
    """The response, or an error that shows what the service said."""
    if response.is_error:
        message = f"{response.request.method} {response.url} gave {response.status_code}: {response.text[:500]}"
        raise httpx.HTTPStatusError(message, request=response.request, response=response)
    return response


def batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Consecutive parts of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
