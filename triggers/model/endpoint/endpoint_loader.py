"""The section `loader` of a bundle whose model is only an address: how inputs travel there and scores come back."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator, model_validator

from triggers.endpoint_address import EndpointAddress
from triggers.model.endpoint.json_path import parse_json_path

ProtocolName = Literal["v2", "v2-grpc", "json"]
Encoding = Literal["pixels", "float", "png", "jpeg", "text"]
NumberType = Literal["UINT8", "INT32", "INT64", "FP16", "FP32", "FP64"]
ALL_ROWS, ONE_ROW, WHOLE_BODY, EACH_ROW = "$inputs", "$input", "$body", "$each"
"""In the template of a JSON body: all rows, one row, the row as the whole body, one part for every row."""
CANARY_FILE = "canary.safetensors"


class Credentials(BaseModel):
    """One request header whose value is read from a file or from a variable of the environment, never from model.json.

    `prefix` stands before it, as in `Bearer `.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    header: str = Field(default="Authorization", pattern=r"^[A-Za-z0-9-]{1,64}$")
    prefix: str = "Bearer "
    file: str | None = None
    environment: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")

    @model_validator(mode="after")
    def _one_source(self) -> Credentials:
        if (self.file is None) == (self.environment is None):
            raise ValueError("credentials need exactly one of file and environment")
        return self


class EndpointLoader(BaseModel):
    """A model behind `url`, which answers `protocol`.

    Pictures travel as `pixels` (uint8), as `float` (after mean and std), or as `png` or `jpeg` files; texts as `text`.
    `input` and `output` are names of tensors (v2, v2-grpc), or the template of a body and the path to the scores
    (json_mapping.py). `columns` are the names of the outputs in order, where answers name them; `scores` says whether
    they hold numbers or the label alone. `max_batch` rows go in one request, `concurrency` requests at a time.

    Of V2 only: `datatype` of numbers other than the usual one, `parameters` of the input tensor, `item_shape` of one
    text or file, `file_bytes` of files, `binary` for the extension of HTTP.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    kind: Literal["endpoint"]
    protocol: ProtocolName
    url: str
    encoding: Encoding
    quality: Annotated[int, Field(ge=1, le=100)] | None = None
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    input: JsonValue = None
    output: str | None = None
    scores: Literal["numbers", "labels"] = "numbers"
    columns: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    datatype: NumberType | None = None
    parameters: dict[str, bool | int | float | str] = {}
    item_shape: tuple[Literal[1], ...] = ()
    file_bytes: Literal["base64", "raw"] = "base64"
    binary: bool = False
    max_batch: Annotated[int, Field(ge=1, le=4096)] = 32
    concurrency: Annotated[int, Field(ge=1, le=256)] = 4
    timeout: Annotated[float, Field(gt=0, le=600)] = 10.0
    credentials: Credentials | None = None
    canary_tolerance: Annotated[float, Field(gt=0)] = 1e-3

    @field_validator("url")
    @classmethod
    def _address(cls, url: str) -> str:
        EndpointAddress.of_url(url)
        return url

    @model_validator(mode="before")
    @classmethod
    def _one_row_a_request(cls, given: Any) -> Any:
        """Where the template takes one row, so does a request, unless something else is stated."""
        if isinstance(given, dict) and given.get("protocol") == "json" and takes_one_row(given.get("input")):
            return {"max_batch": 1, **given}
        return given

    @model_validator(mode="after")
    def _consistent(self) -> EndpointLoader:
        if (self.quality is None) == (self.encoding == "jpeg"):
            raise ValueError("quality is for encoding jpeg, which needs it")
        if self.columns and len(set(self.columns)) != len(self.columns):
            raise ValueError("columns must differ from each other")
        address = EndpointAddress.of_url(self.url)
        if (self.protocol == "v2-grpc") != address.scheme.startswith("grpc"):
            raise ValueError("protocol v2-grpc goes with grpc:// and grpcs:// addresses, the others with http")
        if self.protocol == "v2-grpc" and not address.target.strip("/"):
            raise ValueError("a gRPC address names the model: grpc://HOST:PORT/MODEL")
        if self.protocol == "json":
            self._check_mapping()
        else:
            self._check_tensors()
        return self

    def _check_mapping(self) -> None:
        parse_json_path(self.output or "$")
        held = placeholders(self.input)
        if self.input is not None and (not held or {ALL_ROWS, ONE_ROW} <= held):
            raise ValueError(f'input, the template of the body, must hold either "{ALL_ROWS}" or "{ONE_ROW}"')
        if self.one_row and self.max_batch != 1:
            raise ValueError(
                f'input takes one row ("{ONE_ROW}"): max_batch must be 1, or put {{"{EACH_ROW}": ...}} around it'
            )
        if self.input == WHOLE_BODY and self.encoding not in ("png", "jpeg", "text"):
            raise ValueError(f'input "{WHOLE_BODY}" is a file or a text: encoding must be png, jpeg or text')
        v2_only = {"datatype", "parameters", "item_shape", "file_bytes", "binary"}
        if stated := sorted(name for name in v2_only if getattr(self, name) != type(self).model_fields[name].default):
            raise ValueError(f"{', '.join(stated)} belong to v2, not to json: say all in input, the body's template")

    def _check_tensors(self) -> None:
        if not isinstance(self.input, str):
            raise ValueError("input must be the name of the input tensor")
        numbers = self.encoding in ("pixels", "float")
        if self.datatype and not (numbers and (self.encoding == "pixels" or self.datatype.startswith("FP"))):
            raise ValueError("datatype is for pixels, or FP16, FP32 or FP64 for float")
        if numbers and self.item_shape:
            raise ValueError("item_shape is for texts and files")
        if self.file_bytes == "raw" and not (self.binary or self.protocol == "v2-grpc"):
            raise ValueError("file_bytes raw needs binary true: JSON cannot hold a file as it is")
        if self.protocol == "v2-grpc" and self.binary:
            raise ValueError("binary is for v2 over HTTP: gRPC always is")

    @property
    def one_row(self) -> bool:
        """Whether every request holds one row."""
        return self.protocol == "json" and takes_one_row(self.input)

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the answers, apart from the model itself: not where it is, nor how fast it is asked.

        HTTP, binary or not, and gRPC carry the same tensors.
        """
        fields = {"encoding", "quality", "layout", "input", "output", "scores", "columns", "datatype", "parameters"}
        stated = self.model_dump(mode="json", include=fields, exclude_defaults=True)
        return stated | {"protocol": self.protocol.removesuffix("-grpc")}


def placeholders(template: JsonValue) -> set[str]:
    """Which of "$inputs", "$input" and "$body" a template of a body holds."""
    if isinstance(template, str):
        whole = {each for each in (ALL_ROWS, WHOLE_BODY) if template == each}
        return whole or ({ONE_ROW} if ONE_ROW in template and ALL_ROWS not in template else set())
    parts = template.values() if isinstance(template, dict) else template if isinstance(template, list) else ()
    return {found for each in parts for found in placeholders(each)}


def takes_one_row(template: JsonValue) -> bool:
    """Whether a template of a body holds one row: "$body", or "$input" that no "$each" repeats."""
    if isinstance(template, dict):
        return template.keys() != {EACH_ROW} and any(takes_one_row(each) for each in template.values())
    if isinstance(template, list):
        return any(takes_one_row(each) for each in template)
    return bool(placeholders(template) & {ONE_ROW, WHOLE_BODY})
