"""The model under MLServer, whose settings files `benchmarks.servers` writes; adaptive batching is MLServer's own."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from mlserver import MLModel
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput

from benchmarks.peers.model import Classifier


class Runtime(MLModel):  # type: ignore[misc]
    """Images as base64 in a BYTES tensor, answers as JSON in one."""

    async def load(self) -> bool:
        """Load the model."""
        torch.set_num_threads(1)
        self.classifier = Classifier(Path(self.settings.parameters.uri))
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer a batch that MLServer put together."""
        data = list(payload.inputs[0].data)
        table = self.classifier.scores([self.classifier.decode(encoded) for encoded in data])
        answers = [json.dumps(self.classifier.answer(scores)) for scores in table]
        output = ResponseOutput(name="answers", shape=[len(answers), 1], datatype="BYTES", data=answers)
        return InferenceResponse(model_name=self.name, outputs=[output])
