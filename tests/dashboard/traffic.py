"""A little traffic for pages to show: two groups, most labels, some twins."""

from __future__ import annotations

import httpx

from tests.service.live import as_item

MODEL = "faces"


def some_traffic(client: httpx.Client, pictures: list[bytes], groups: tuple[str, ...] = ("f", "m")) -> None:
    """Every picture once for each group; three of four labels come back."""
    for group in groups:
        inputs = [as_item(data, group=group, key=f"{group} {at}") for at, data in enumerate(pictures)]
        response = client.post(f"/v1/models/{MODEL}/predict", json={"inputs": inputs})
        assert response.status_code == 200, response.text
        answers = response.json()["predictions"]
        feedback = [
            {"prediction_id": answer["prediction_id"], "label": at % 2}
            for at, answer in enumerate(answers)
            if at % 4 != 3
        ]
        assert client.post(f"/v1/models/{MODEL}/feedback", json=feedback).status_code == 200
