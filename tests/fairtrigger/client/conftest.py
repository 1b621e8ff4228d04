"""A client of a real service, and servers that answer as a fault would have it."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from fairtrigger.client import Client
from tests.service.live import TOKEN


@pytest.fixture
def client(service: httpx.Client) -> Iterator[Client]:
    """An admin's client of the service of both tiny models."""
    with Client(str(service.base_url), TOKEN) as client:
        yield client
