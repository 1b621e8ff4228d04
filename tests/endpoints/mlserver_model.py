"""The tiny image network under a real MLServer, for pixels or for picture files; its environment imports this alone."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import torch
from mlserver import MLModel
from mlserver.codecs import Base64Codec, NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse
from PIL import Image
from safetensors.torch import load_file
from torch import nn


class TinyFaces(MLModel):  # type: ignore[misc]
    """Logits of pixels (N, 3, H, W) from 0 to 255, or of files in base64."""

    async def load(self) -> bool:
        """Build the network of tests.bundles with the bundle's weights."""
        torch.set_num_threads(1)
        layers: list[Any] = [nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU()]
        self.network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 2)).eval()
        self.network.load_state_dict(load_file(self.settings.parameters.uri))
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer as MLServer's own codecs read and write."""
        tensor = payload.inputs[0]
        if tensor.datatype == "BYTES":
            files = Base64Codec.decode_input(tensor)
            pixels = np.stack([np.asarray(Image.open(io.BytesIO(each))).transpose(2, 0, 1) for each in files])
        else:
            pixels = NumpyCodec.decode_input(tensor)
        with torch.no_grad():
            logits = self.network((torch.from_numpy(pixels.astype(np.float32)) / 255 - 0.5) / 0.25).numpy()
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("logits", logits)])
