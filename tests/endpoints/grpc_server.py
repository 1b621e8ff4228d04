"""An Open Inference Protocol V2 server over gRPC, with tritonclient's messages."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from tritonclient.utils import deserialize_bytes_tensor, serialize_byte_tensor, triton_to_np_dtype

from tests.endpoints.v2_server import V2Model

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from tritonclient.grpc import service_pb2, service_pb2_grpc


class V2Servicer(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """Metadata and inference of one model; `raw` says whether outputs are in binary form; metadata of calls is kept."""

    def __init__(self, model: V2Model, *, raw: bool = True) -> None:
        self._model, self._raw = model, raw
        self.calls: list[dict[str, str]] = []
        self.fault: tuple[grpc.StatusCode, str] | None = None

    def ModelMetadata(self, request: Any, context: Any) -> Any:
        """Names, datatypes, shapes."""
        if not self._model.metadata:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "no metadata")
        inputs, outputs = (
            [service_pb2.ModelMetadataResponse.TensorMetadata(name=n, datatype=d, shape=s) for n, d, s in part]
            for part in (self._model.inputs, self._model.outputs)
        )
        return service_pb2.ModelMetadataResponse(name=request.name, inputs=inputs, outputs=outputs)

    def ModelInfer(self, request: Any, context: Any) -> Any:
        """Outputs of one input."""
        self.calls.append(dict(context.invocation_metadata()))
        if self.fault:
            context.abort(*self.fault)
        (tensor,), (data,) = request.inputs, request.raw_input_contents
        kind = triton_to_np_dtype(tensor.datatype)
        flat = deserialize_bytes_tensor(data) if kind is np.object_ else np.frombuffer(data, kind)
        found = self._model.run(np.asarray(flat).reshape(list(tensor.shape)))
        response = service_pb2.ModelInferResponse(model_name=request.model_name)
        for (name, datatype, _shape), values in zip(self._model.outputs, found, strict=True):
            output = response.outputs.add(name=name, datatype=datatype, shape=values.shape)
            if self._raw:
                raw = serialize_byte_tensor(values).item() if datatype == "BYTES" else values.tobytes()
                response.raw_output_contents.append(raw)
            else:
                output.contents.fp32_contents.extend(values.ravel().tolist())
        return response


@contextmanager
def grpc_endpoint(servicer: V2Servicer, port: int = 0, certificate: tuple[Path, Path] | None = None) -> Iterator[str]:
    """Serve while the block runs, over TLS with a certificate and its key; yields HOST:PORT."""
    server = grpc.server(ThreadPoolExecutor(4))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, server)
    place = f"127.0.0.1:{port}"
    if certificate:
        chain, key = (path.read_bytes() for path in certificate)
        port = server.add_secure_port(place, grpc.ssl_server_credentials([(key, chain)]))
    else:
        port = server.add_insecure_port(place)
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()
