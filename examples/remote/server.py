"""A frozen model behind an address, as somebody would write it: PNG files in, scores out. It knows nothing of triggers.

python examples/remote/server.py NETWORK.onnx IMAGE.json PORT
    asked      POST / with {"images": ["base64 of a PNG file", ...]}
    answers    {"scores": [[...], ...]}: what the network gives
    IMAGE.json "mean" and "std" of pixels in 0..255
"""

from __future__ import annotations

import base64
import io
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image


def serve(network: Path, image: Path, port: int) -> None:
    """Answer until killed."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(network), options)
    name, said = session.get_inputs()[0].name, json.loads(image.read_text())
    mean, std = (np.array(said[part], np.float32)[:, None, None] for part in ("mean", "std"))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # connections stay open between requests

        def do_POST(self) -> None:
            files = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["images"]
            pixels = np.stack([np.asarray(Image.open(io.BytesIO(base64.b64decode(each)))) for each in files])
            scores = session.run(None, {name: (pixels.transpose(0, 3, 1, 2) - mean) / std})[0]
            answer = json.dumps({"scores": scores.tolist()}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None: ...

    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    serve(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
