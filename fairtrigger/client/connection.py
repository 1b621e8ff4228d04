"""What both clients share: how they connect, and the operations that need a model's card."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import httpx

from fairtrigger.client import predictions
from fairtrigger.client.data_frames import TableT, column_values, results_table
from fairtrigger.client.fairness_figures import FairnessFigures, FairnessSeries
from fairtrigger.client.predictions import PredictOptions
from fairtrigger.client.results import PredictionResult
from fairtrigger.client.service_calls import Operation, RetryRules, fetch, model_path
from fairtrigger.model_inputs import ImageInput

TOKEN_VARIABLE = "FAIRTRIGGER_TOKEN"


class ServiceConnection:
    """What both clients share: how they connect, and the cards of models, whose limits decide how inputs are split."""

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        timeout: float = 60.0,
        retries: int = 4,
        longest_wait: float = 60.0,
        connections: int = 64,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """The service at `url`; `token` is by default FAIRTRIGGER_TOKEN.

        `timeout` is for each request, in seconds; `retries` how often one is sent again, `longest_wait` the most of a
        Retry-After that is waited for, `connections` the most at once; `tls` replaces the authorities that this
        machine trusts.
        """
        token = os.environ.get(TOKEN_VARIABLE) if token is None else token
        headers = {"X-Timeout-Ms": str(max(1, min(600_000, round(timeout * 900))))}  # 504 before we would give up
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self._rules = RetryRules(retries, longest_wait)
        self._cards: dict[str, Mapping[str, Any]] = {}
        self._options: dict[str, Any] = {
            "base_url": url.rstrip("/"),
            "headers": headers,
            "timeout": timeout,
            "limits": httpx.Limits(max_connections=connections, keepalive_expiry=4.0),  # the service closes after 5 s
            "verify": tls or url.startswith("https"),  # reading the authorities takes longer than a request
        }
        self._open()

    def _open(self) -> None:
        raise NotImplementedError

    def _card(self, model: str) -> Operation[Mapping[str, Any]]:
        if model not in self._cards:
            self._cards[model] = yield from fetch(model_path(model), self._rules)
        return self._cards[model]

    def _models(self) -> Operation[list[str]]:
        found = yield from fetch("/v1/models", self._rules)
        return [card["name"] for card in found["models"]]

    def _images(
        self, model: str, images: Iterable[ImageInput], options: PredictOptions
    ) -> Operation[list[PredictionResult]]:
        card = yield from self._card(model)
        return (yield from predictions.predict_images(card, images, options, self._rules))

    def _texts(self, model: str, texts: Iterable[str], options: PredictOptions) -> Operation[list[PredictionResult]]:
        card = yield from self._card(model)
        return (yield from predictions.predict_texts(card, texts, options, self._rules))

    def _frame(
        self, model: str, table: TableT, column: str, group: str | None, key: str | None, options: PredictOptions
    ) -> Operation[TableT]:
        inputs = column_values(table, column)
        options = PredictOptions(
            groups=None if group is None else column_values(table, group),
            keys=None if key is None else column_values(table, key),
            trigger=options.trigger,
            twin=options.twin,
        )
        card = yield from self._card(model)
        predict = predictions.predict_images if card["modality"] == "image" else predictions.predict_texts
        return results_table(table, (yield from predict(card, inputs, options, self._rules)))

    def _fairness(self, model: str, window: str, attributes: Sequence[str]) -> Operation[FairnessFigures]:
        params = {"window": window, "attributes": ",".join(attributes)}
        return FairnessFigures((yield from fetch(model_path(model, "/fairness"), self._rules, params)))

    def _series(
        self, model: str, window: str, step: str | None, attributes: Sequence[str]
    ) -> Operation[FairnessSeries]:
        params = {"window": window, "attributes": ",".join(attributes)} | ({"step": step} if step else {})
        return FairnessSeries((yield from fetch(model_path(model, "/fairness/series"), self._rules, params)))
