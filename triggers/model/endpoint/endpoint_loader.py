"""The section `loader` of a bundle whose model is only an address: how inputs travel there and scores come back."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator, model_validator

from triggers.endpoint_address import EndpointAddress

ProtocolName = Literal["v2", "json"]
Encoding = Literal["pixels", "float", "png", "jpeg", "text"]
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
    `input` and `output` are names of tensors (v2), or the JSON template of a body with "$inputs" in it and the path to
    the scores (json). `max_batch` rows go in one request, `concurrency` requests at a time.
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
    max_batch: Annotated[int, Field(ge=1, le=4096)] = 32
    concurrency: Annotated[int, Field(ge=1, le=256)] = 4
    timeout: Annotated[float, Field(gt=0, le=600)] = 10.0
    credentials: Credentials | None = None
    canary_tolerance: Annotated[float, Field(gt=0, lt=1)] = 1e-3

    @field_validator("url")
    @classmethod
    def _http(cls, url: str) -> str:
        EndpointAddress.of_url(url)
        return url

    @model_validator(mode="after")
    def _consistent(self) -> EndpointLoader:
        if (self.quality is None) == (self.encoding == "jpeg"):
            raise ValueError("quality is for encoding jpeg, which needs it")
        return self

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the answers, apart from the model itself: not where it is, nor how fast it is asked."""
        return self.model_dump(mode="json", include={"protocol", "encoding", "quality", "layout", "input", "output"})
