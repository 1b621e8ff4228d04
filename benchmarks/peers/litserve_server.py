"""The model under LitServe: python litserve_server.py BUNDLE PORT API_SERVERS WORKERS BATCH_TIMEOUT."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import litserve
import torch
from torch import Tensor

from benchmarks.peers.model import Classifier


class Api(litserve.LitAPI):  # type: ignore[misc]
    """Decoding per request, one forward pass per batch."""

    def setup(self, device: str) -> None:
        """Load the model in the worker."""
        torch.set_num_threads(1)
        self.classifier = Classifier(Path(sys.argv[1]))

    def decode_request(self, request):  # type: ignore[no-untyped-def] # an annotation makes LitServe look in the query
        """The body's first image, as uint8 (3, S, S)."""
        return self.classifier.decode(request["inputs"][0]["image"])

    def batch(self, inputs: list[Tensor]) -> list[Tensor]:
        """Keep them as they are: the classifier stacks them."""
        return inputs

    def predict(self, images: list[Tensor]) -> list[list[float]]:
        """Scores of a batch."""
        return self.classifier.scores(images)

    def unbatch(self, output: list[list[float]]) -> list[list[float]]:
        """A row per request."""
        return output

    def encode_response(self, output: list[float]) -> dict[str, Any]:
        """One answer."""
        return {"predictions": [self.classifier.answer(output)]}


if __name__ == "__main__":
    port, api_servers, workers, timeout = int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5])
    api = Api(max_batch_size=32, batch_timeout=timeout)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=workers)
    server.run(
        host="127.0.0.1", port=port, num_api_servers=api_servers, log_level="warning", generate_client_file=False
    )
