"""Messages of the Open Inference Protocol V2 over gRPC, beside those of tritonclient; faults of real servers."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import torch

from tests.endpoints.grpc_server import V2Servicer, grpc_endpoint
from tests.endpoints.v2_server import V2Model
from triggers.allow_lists import AllowedHosts
from triggers.errors import EndpointUnavailable, ModelError
from triggers.model.endpoint import EndpointLoader
from triggers.model.endpoint.endpoint_network import EndpointNetwork
from triggers.model.endpoint.inference_messages import inference_message
from triggers.model.endpoint.protocols.v2_grpc import V2GrpcProtocol

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from tritonclient.grpc import service_pb2

SUMS = V2Model(
    lambda x: [np.stack([x.sum((1, 2, 3)), x.max((1, 2, 3))], 1).astype(np.float32)],
    [("x", "FP32", (-1, 3, 2, 2))],
    [("o", "FP32", (-1, 2))],
)
ROWS = torch.arange(36.0).reshape(3, 3, 2, 2)
EXPECTED = [[66.0, 11.0], [210.0, 23.0], [354.0, 35.0]]


def loader(address: str, **change: Any) -> EndpointLoader:
    """A bundle's section for a model `m` there."""
    fields = {"kind": "endpoint", "protocol": "v2-grpc", "url": f"grpc://{address}/m", "encoding": "float"}
    return EndpointLoader.model_validate({**fields, "input": "x", **change})


def network_of(stated: EndpointLoader) -> EndpointNetwork:
    """The network, whose host was named by hand."""
    return EndpointNetwork(stated, hosts=AllowedHosts.of_url(stated.url))


def test_messages_are_those_of_tritonclient() -> None:
    """Field by field: what one writes, the other reads."""
    for name in ("ModelInferRequest", "ModelInferResponse", "ModelMetadataResponse", "ServerMetadataResponse"):
        ours, theirs = inference_message(name), getattr(service_pb2, name)
        assert _shape(ours.DESCRIPTOR) == _shape(theirs.DESCRIPTOR)


def _shape(message: Any) -> Any:
    return [
        (f.name, f.number, f.type, f.is_repeated, f.message_type and _shape(f.message_type), bool(f.containing_oneof))
        for f in message.fields
    ]


def test_a_request_holds_rows_and_parameters() -> None:
    stated = loader("h:1", parameters={"content_type": "np", "n": 3, "b": True, "f": 0.5}, output="o")
    body, _headers = V2GrpcProtocol(stated).encode(ROWS)
    found = service_pb2.ModelInferRequest.FromString(body)
    assert (found.model_name, found.inputs[0].name, list(found.inputs[0].shape)) == ("m", "x", [3, 3, 2, 2])
    parameters = {name: value.WhichOneof("parameter_choice") for name, value in found.inputs[0].parameters.items()}
    assert parameters == {"content_type": "string_param", "n": "int64_param", "b": "bool_param", "f": "double_param"}
    assert [each.name for each in found.outputs] == ["o"]
    assert found.raw_input_contents[0] == ROWS.numpy().tobytes()


@pytest.mark.parametrize("raw", [True, False])
def test_answers_are_read_in_binary_form_and_as_lists(raw: bool) -> None:
    with grpc_endpoint(V2Servicer(SUMS, raw=raw)) as address:
        assert network_of(loader(address, max_batch=2))(ROWS).tolist() == EXPECTED


def test_credentials_travel_as_metadata(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret")
    servicer = V2Servicer(SUMS)
    with grpc_endpoint(servicer) as address:
        network_of(loader(address, credentials={"file": str(tmp_path / "token")}))(ROWS)
        assert servicer.calls[0]["authorization"] == "Bearer s3cret"


def test_a_server_that_fails_is_told_from_one_that_is_gone() -> None:
    servicer = V2Servicer(SUMS)
    with grpc_endpoint(servicer) as address:
        network = network_of(loader(address, timeout=5))
        for code, gone in (("UNAVAILABLE", True), ("RESOURCE_EXHAUSTED", False)):
            servicer.fault = (grpc.StatusCode[code], "busy")
            with pytest.raises(EndpointUnavailable) as unavailable:
                network(ROWS)
            assert unavailable.value.gone == gone
        for code in ("UNAUTHENTICATED", "INVALID_ARGUMENT", "INTERNAL"):
            servicer.fault = (grpc.StatusCode[code], "no")
            with pytest.raises(ModelError, match=f"answers {code}: no"):
                network(ROWS)
        servicer.fault = None
        assert network(ROWS).tolist() == EXPECTED
    with pytest.raises(EndpointUnavailable, match=r"cannot be reached|DEADLINE"):
        network(ROWS)


def _response(**fields: Any) -> bytes:
    found: bytes = service_pb2.ModelInferResponse(**fields).SerializeToString()
    return found


OUTPUT = {"name": "o", "datatype": "FP32", "shape": [1, 2]}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"\xff\xff", "no ModelInferResponse of the protocol"),
        (_response(), r"outputs \[\]"),
        (_response(outputs=[OUTPUT, {**OUTPUT, "name": "p"}]), r"outputs \['o', 'p'\]; `loader.output`"),
        (_response(outputs=[OUTPUT]), "no table of numbers"),
        (_response(outputs=[OUTPUT], raw_output_contents=[b"1234"]), "no table of numbers"),
        (_response(outputs=[OUTPUT], raw_output_contents=[b"1234", b"1"]), "1 outputs, 2 with data"),
        (_response(outputs=[{**OUTPUT, "datatype": "FP16"}]), "FP16 that is not in binary form"),
    ],
)
def test_any_other_answer_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        V2GrpcProtocol(loader("h:1")).decode(body, {})
