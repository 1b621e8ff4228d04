"""The same network under MLServer: PNG files in base64 in a BYTES tensor, a table of scores out."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import onnxruntime
from mlserver import MLModel
from mlserver.codecs import Base64Codec, NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse
from mlserver.utils import get_model_uri
from PIL import Image


class OnnxPictures(MLModel):  # type: ignore[misc]
    """`parameters.uri` names the ONNX file; image.json beside it has mean and std of pixels in 0..255."""

    async def load(self) -> bool:
        """Open the network."""
        network = Path(await get_model_uri(self.settings))
        said = json.loads(network.with_name("image.json").read_text())
        self.mean, self.std = (np.array(said[part], np.float32)[:, None, None] for part in ("mean", "std"))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(network), options)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Scores of all pictures of a request."""
        files = Base64Codec.decode_input(payload.inputs[0])
        pixels = np.stack([np.asarray(Image.open(io.BytesIO(each))) for each in files]).transpose(0, 3, 1, 2)
        given = {self.session.get_inputs()[0].name: (pixels - self.mean) / self.std}
        scores = self.session.run(None, given)[0]
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("scores", scores)])
