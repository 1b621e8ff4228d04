"""A plain endpoint: V2 with images or 8-bit tensors in JSON, one forward pass per request, as somebody would write it.

python -m benchmarks.peers.endpoint_server BUNDLE PORT
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
import uvicorn
from torch import Tensor

from benchmarks.peers.model import Classifier


class Endpoint:
    """An ASGI app that answers whatever is posted to it."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Read, compute, answer."""
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message.get("more_body", False)
        table = self._classifier.scores(images_in(self._classifier, json.loads(body)["inputs"][0]))
        data = [score for row in table for score in row]
        output = {"name": "scores", "shape": [len(table), len(table[0])], "datatype": "FP32", "data": data}
        told = json.dumps({"model_name": "endpoint", "outputs": [output]}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(told)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": told})


def images_in(classifier: Classifier, tensor: dict[str, Any]) -> list[Tensor]:
    """The images (3, S, S) uint8 of an input tensor."""
    if tensor["datatype"] == "BYTES":
        return [classifier.decode(each) for each in tensor["data"]]
    return list(torch.tensor(tensor["data"], dtype=torch.uint8).reshape(tensor["shape"]))


def main() -> None:
    """Serve until killed."""
    torch.set_num_threads(1)
    app = Endpoint(Classifier(Path(sys.argv[1])))
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
