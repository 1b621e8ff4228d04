"""An endpoint under MLServer: V2 with images in a BYTES tensor or 8-bit tensors, answered with a table of scores."""

from __future__ import annotations

from pathlib import Path

import torch
from mlserver import MLModel
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput

from benchmarks.peers.model import Classifier


class ScoringModel(MLModel):  # type: ignore[misc]
    """The model as an endpoint; adaptive batching is MLServer's own."""

    async def load(self) -> bool:
        """Load the model."""
        torch.set_num_threads(1)
        self.classifier = Classifier(Path(self.settings.parameters.uri))
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer a batch that MLServer put together."""
        tensor = payload.inputs[0]
        if tensor.datatype == "BYTES":
            images = [self.classifier.decode(encoded) for encoded in tensor.data]
        else:
            images = list(torch.tensor(list(tensor.data), dtype=torch.uint8).reshape(tensor.shape))
        table = self.classifier.scores(images)
        data = [score for row in table for score in row]
        output = ResponseOutput(name="scores", shape=[len(table), len(table[0])], datatype="FP32", data=data)
        return InferenceResponse(model_name=self.name, outputs=[output])
