"""Messages of the Open Inference Protocol V2 over gRPC, built from their fields.

They are in a pool of their own, so that other packages may bring the same messages into the same process.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from triggers.errors import ConfigError, ModelError

PACKAGE = "inference"
SERVICE = f"{PACKAGE}.GRPCInferenceService"
_PARAMETERS = "InferParameter{} parameters"
_TENSOR = f"string name, string datatype, int64[] shape, {_PARAMETERS}, InferTensorContents contents"
_METADATA = "string name, string datatype, int64[] shape"
_SCHEMA = {
    "InferParameter": "bool bool_param, int64 int64_param, string string_param, double double_param, "
    "uint64 uint64_param",
    "InferTensorContents": "bool[] bool_contents, int32[] int_contents, int64[] int64_contents, uint32[] uint_contents,"
    " uint64[] uint64_contents, float[] fp32_contents, double[] fp64_contents, bytes[] bytes_contents",
    "InferInputTensor": _TENSOR,
    "InferOutputTensor": _TENSOR,
    "InferRequestedOutputTensor": f"string name, {_PARAMETERS}",
    "ModelInferRequest": f"string model_name, string model_version, string id, {_PARAMETERS}, "
    "InferInputTensor[] inputs, InferRequestedOutputTensor[] outputs, bytes[] raw_input_contents",
    "ModelInferResponse": f"string model_name, string model_version, string id, {_PARAMETERS}, "
    "InferOutputTensor[] outputs, bytes[] raw_output_contents",
    "TensorMetadata": _METADATA,
    "ModelMetadataRequest": "string name, string version",
    "ModelMetadataResponse": "string name, string[] versions, string platform, TensorMetadata[] inputs, "
    "TensorMetadata[] outputs",
    "ModelReadyRequest": "string name, string version",
    "ModelReadyResponse": "bool ready",
    "ServerLiveRequest": "",
    "ServerLiveResponse": "bool live",
    "ServerReadyRequest": "",
    "ServerReadyResponse": "bool ready",
    "ServerMetadataRequest": "",
    "ServerMetadataResponse": "string name, string version, string[] extensions",
}
"""Fields of each message, numbered from 1 in this order; those of InferParameter exclude each other."""


def inference_message(name: str) -> Any:
    """The class of a message. Raises ConfigError where protobuf is missing."""
    return _classes()[name]


def parse_message(name: str, body: bytes) -> Any:
    """A message from its bytes. Raises ModelError."""
    from google.protobuf.message import DecodeError

    try:
        return inference_message(name).FromString(body)
    except DecodeError as error:
        raise ModelError(f"The endpoint's answer is no {name} of the protocol ({body[:40]!r}).") from error


@lru_cache(maxsize=1)
def _classes() -> dict[str, Any]:
    try:
        from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    except ModuleNotFoundError as error:
        raise ConfigError("gRPC needs grpcio and protobuf: pip install 'fairtrigger[grpc]'.") from error
    file = descriptor_pb2.FileDescriptorProto(name="open_inference.proto", package=PACKAGE, syntax="proto3")
    for name, fields in _SCHEMA.items():
        message = file.message_type.add(name=name)
        if name == "InferParameter":
            message.oneof_decl.add(name="parameter_choice")
        for number, field in enumerate(filter(None, fields.split(", ")), 1):
            _add_field(message, number, field, descriptor_pb2.FieldDescriptorProto)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}")) for name in _SCHEMA}


def _add_field(message: Any, number: int, field: str, kinds: Any) -> None:
    kind, name = field.split()
    repeated, mapped = kind.endswith("[]"), kind.endswith("{}")
    kind = kind.removesuffix("[]").removesuffix("{}")
    label = kinds.LABEL_REPEATED if repeated or mapped else kinds.LABEL_OPTIONAL
    added = message.field.add(name=name, number=number, label=label)
    if mapped:
        entry = message.nested_type.add(name=f"{name.capitalize()}Entry")
        entry.options.map_entry = True
        entry.field.add(name="key", number=1, label=kinds.LABEL_OPTIONAL, type=kinds.TYPE_STRING)
        entry.field.add(
            name="value", number=2, label=kinds.LABEL_OPTIONAL, type=kinds.TYPE_MESSAGE, type_name=f".{PACKAGE}.{kind}"
        )
        added.type, added.type_name = kinds.TYPE_MESSAGE, f".{PACKAGE}.{message.name}.{entry.name}"
    elif kind[0].isupper():
        added.type, added.type_name = kinds.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
    else:
        added.type = getattr(kinds, f"TYPE_{kind.upper()}")
    if message.name == "InferParameter":
        added.oneof_index = 0
