"""Pydantic models of the Open Inference Protocol V2, as far as this service supports it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from service.api.schemas import GroupName, TriggerChoice
from service.engine.batching import MAX_TIMEOUT_MS

TensorName = Literal["scores", "label", "prediction_id", "trigger", "truncated", "twin_scores", "twin_label", "flipped"]
"""Names of the outputs; the last three exist only with the parameter `twin`."""


class _In(BaseModel):
    """Unknown keys are refused, so that a misspelt one is not ignored; null, as some clients write it, is absent."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: object) -> object:
        return {key: each for key, each in given.items() if each is not None} if isinstance(given, dict) else given


class InferParameters(_In):
    """`timeout` is Triton's name for the same in microseconds; `binary_data_output` asks for every output in binary.

    `content_type` is MLServer's; the datatype of the tensors says what is needed of it.
    """

    trigger: TriggerChoice | None = None
    twin: bool = False
    group: GroupName | None = Field(default=None, description="group of every input that names none")
    timeout_ms: int | None = Field(default=None, ge=1, le=MAX_TIMEOUT_MS)
    timeout: int | None = Field(default=None, ge=1, le=MAX_TIMEOUT_MS * 1000)
    binary_data_output: bool = False
    content_type: str | None = None


class InputParameters(_In):
    """`binary_data_size` says that the elements follow the JSON, so many bytes; `content_type` is not needed here."""

    binary_data_size: int | None = Field(default=None, ge=0)
    content_type: str | None = None


class InputTensor(_In):
    """`image` or `text`, and perhaps `group`: one element per input, of shape [N] or [N, 1]."""

    name: Literal["image", "text", "group"]
    datatype: Literal["BYTES"]
    shape: list[Annotated[int, Field(ge=1)]] = Field(min_length=1, max_length=2)
    parameters: InputParameters = InputParameters()
    data: list[Any] | None = Field(
        default=None, description="images in base64, texts and groups as they are", examples=[["what a lovely day"]]
    )


class OutputParameters(_In):
    """Whether this output shall follow the JSON as bytes."""

    binary_data: bool | None = None


class RequestedOutput(_In):
    """One output that the client wants."""

    name: TensorName
    parameters: OutputParameters = OutputParameters()


class InferRequest(_In):
    """The JSON (or, with the binary extension, the JSON head) of an inference request.

    `model_name` is what KServe's client repeats from the path.
    """

    model_name: str | None = None
    id: str | None = Field(default=None, max_length=1024)
    parameters: InferParameters = InferParameters()
    inputs: list[InputTensor] = Field(min_length=1, max_length=2)
    outputs: list[RequestedOutput] = Field(default=[], max_length=16)


class _Out(BaseModel):
    model_config = ConfigDict(frozen=True, protected_namespaces=())


class OutputTensor(_Out):
    """One element, or one row of scores, per input. Without `data` its bytes follow the JSON."""

    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, int] | None = None
    data: list[Any] | None = None


class InferResponse(_Out):
    """`model_version` names the trigger that computed it: a version, `none`, or `mixed` (see the output `trigger`)."""

    model_name: str
    model_version: str
    id: str | None = None
    parameters: dict[str, str | int | float | bool]
    outputs: list[OutputTensor]


class ServerMetadata(_Out):
    """What this server is, and the extensions of the protocol that it speaks."""

    name: str
    version: str
    extensions: list[str]


class TensorMetadata(_Out):
    """Name, type and shape of an input or output; -1 is any size."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(_Out):
    """A model to this protocol: its versions are the published triggers, and `none`."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class Live(_Out):
    """Whether the process lives."""

    live: bool


class Ready(_Out):
    """Whether the server, or one model, should get traffic."""

    name: str | None = None
    ready: bool
