"""The webhook of the guard's alarms: one JSON POST, tried a few times, in a thread of its own."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Mapping
from typing import Any
from urllib.request import HTTPRedirectHandler, Request, build_opener

TIMEOUT_SECONDS = 5.0
PAUSES = (0.0, 1.0, 5.0)
"""Seconds before each attempt."""
logger = logging.getLogger(__name__)


class Webhook:
    """Client that posts documents to the operator's http(s) URL; redirects are not followed."""

    def __init__(self, url: str, pauses: tuple[float, ...] = PAUSES) -> None:
        self._url, self._pauses = url, pauses
        self._opener = build_opener(_NoRedirects)

    def send(self, document: Mapping[str, Any]) -> None:
        """Post in a new thread; after the last failed attempt the failure is logged."""
        body = json.dumps(document, allow_nan=False).encode()
        threading.Thread(target=self._post, args=(body,), name="webhook", daemon=True).start()

    def _post(self, body: bytes) -> None:
        for pause in self._pauses:
            time.sleep(pause)
            try:
                request = Request(self._url, body, {"Content-Type": "application/json"}, method="POST")
                with self._opener.open(request, timeout=TIMEOUT_SECONDS):
                    return
            except Exception as error:  # any failure, such as an answer that is not HTTP: the alarm is posted again
                reason = str(error) or repr(error)
        logger.error("The alarm could not be posted to the webhook, after %d attempts: %s", len(self._pauses), reason)


class _NoRedirects(HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """A redirect is an error like any other answer that is not 2xx."""
