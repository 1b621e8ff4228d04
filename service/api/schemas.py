"""Pydantic models of requests and responses: they validate input and define the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from service.api.problem_details import validation_problem
from service.api.schemas_rollout import RolloutOut
from triggers.artifact.selection_record import SelectionStatus

GroupName = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""Name of a group, as people are counted in the fairness statistics; it never reaches the model.

Where groups overlap, a person's are joined: "black + female"."""

TriggerChoice = Annotated[str, StringConstraints(pattern=r"^(champion|challenger|none|v?[1-9][0-9]{0,8})$")]
"""`champion` or `challenger` of the rollout, `none` (the bare model) or a version such as `v3`."""

MAX_KEY = 256
RequestKey = Annotated[str, StringConstraints(min_length=1, max_length=MAX_KEY)]
"""Key of the person a request is for: one key always gets the same of champion and challenger. Hashed, not kept."""


class _In(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Out(BaseModel):
    model_config = ConfigDict(frozen=True, protected_namespaces=())


class PredictItem(_In):
    """One input: an image file in base64, or a text. Group, trigger, twin and key here win over the request's."""

    image: str | None = None
    text: str | None = None
    group: GroupName | None = None
    trigger: TriggerChoice | None = None
    twin: bool | None = None
    key: RequestKey | None = None

    @model_validator(mode="after")
    def _one_input(self) -> Self:
        if (self.image is None) == (self.text is None):
            raise ValueError("give exactly one of `image` (base64) and `text`")
        return self


class PredictRequest(_In):
    """The JSON body of predict. `group` is one name for all inputs, or a list with one entry (or null) per input."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"inputs": [{"image": "iVBORw0KGgo..."}], "group": "female"},
                {"inputs": [{"text": "what a lovely day"}, {"text": "go away"}], "group": ["a", None], "twin": True},
            ]
        }
    )

    inputs: list[PredictItem] = Field(min_length=1)
    group: GroupName | list[GroupName | None] | None = None
    trigger: TriggerChoice | None = None
    twin: bool | None = None
    key: RequestKey | None = None

    @model_validator(mode="after")
    def _groups_fit(self) -> Self:
        if isinstance(self.group, list) and len(self.group) != len(self.inputs):
            raise ValueError(f"group has {len(self.group)} entries for {len(self.inputs)} inputs")
        return self


class PredictQuery(BaseModel):
    """The query parameters of predict; the body wins over them."""

    model_config = ConfigDict(frozen=True)

    group: GroupName | None = Field(default=None, description="group of every input that names none")
    trigger: TriggerChoice | None = Field(default=None, description="champion, challenger, none, or a version")
    twin: bool = Field(default=False, description="also run every input without the trigger, in the same batch")


class TriggerUsed(_Out):
    """The trigger that computed a prediction; both are null for the bare model."""

    version: int | None
    digest: str | None


class Twin(_Out):
    """The same input without the trigger, in the same batch."""

    label: str
    label_index: int
    scores: dict[str, float]
    flipped: bool = Field(description="whether the trigger changed the label")


class ProblemDocument(_Out):
    """An RFC 9457 problem: `detail` says what is wrong and what to do, `code` is stable for programs."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    error: str
    instance: str | None = None
    errors: list[dict[str, Any]] | None = None


class Prediction(_Out):
    """The answer to one input. `truncated` is there, and true, if the text was cut to the model's token limit."""

    label: str
    label_index: int
    scores: dict[str, float]
    trigger: TriggerUsed
    policy: Literal["champion", "challenger", "pinned"] = Field(
        description="why this version answered: as champion or challenger of the rollout, or because it was asked for"
    )
    prediction_id: str | None = Field(
        description="a sealed receipt: send it back with the true label to /feedback; null with statistics=off"
    )
    truncated: bool | None = None
    twin: Twin | None = None


class FailedItem(_Out):
    """The place of an input that could not be used, among others that could."""

    error: ProblemDocument


class TimingOut(_Out):
    """Where the time went, in milliseconds; `batch_size` is the rows of the largest batch that took part."""

    decode_ms: float
    queue_ms: float
    infer_ms: float
    batch_size: int


class PredictResponse(_Out):
    """One entry per input, in its order, each naming the trigger version that really computed it."""

    model: str
    model_fingerprint: str
    revision: int = Field(description="the rollout revision that was applied when the batch was formed")
    predictions: list[Prediction | FailedItem]
    fault: str | None = Field(
        default=None, description="there while the rollout is refused here: why, and what answers in its place"
    )
    timing: TimingOut


class FeedbackItem(_In):
    """What became known later about one prediction: its true label, its group, or both.

    A label is a name, else an index (1, "1", 1.0), else, of two labels, true or false; the trainer reads data alike.
    """

    prediction_id: str = Field(min_length=1, max_length=1024)
    label: str | int | float | bool | None = None
    group: GroupName | None = None

    @model_validator(mode="after")
    def _something_known(self) -> Self:
        if self.label is None and self.group is None:
            raise ValueError("give `label`, `group` or both")
        return self


def one_or_many(body: object) -> str:
    """Tag of a body that is one entry or a list of them."""
    return "many" if isinstance(body, list) else "one"


def entry_or_problem(entry: object, validate: ValidatorFunctionWrapHandler) -> object:
    """The validated entry, or the Problem that it has."""
    try:
        return validate(entry)
    except ValidationError as error:
        return validation_problem(error.errors(include_url=False, include_input=False))


FeedbackEntry = Annotated[FeedbackItem, WrapValidator(entry_or_problem)]
"""One of several pieces; one that does not fit its schema is validated to a Problem, so that the others are counted."""

FeedbackBody = Annotated[
    Annotated[FeedbackItem, Tag("one")]
    | Annotated[list[FeedbackEntry], Field(min_length=1, max_length=10_000, fail_fast=True), Tag("many")],
    Discriminator(one_or_many),
]
"""One piece of feedback, or a list of them."""


class FeedbackResult(_Out):
    """What became of one piece: `counted` (new), `corrected`, `unchanged` (known already) or `refused`."""

    status: str
    error: ProblemDocument | None = None


class FeedbackResponse(_Out):
    """One result per piece of feedback, in its order."""

    results: list[FeedbackResult]


class ComparisonOut(_Out):
    """What the model's bundle gave beside the source that it was made from, when it was wrapped."""

    oracle: str = Field(description="the source's own pipeline")
    inputs: int
    largest_difference: float = Field(description="of a score")
    flips: int = Field(description="inputs with another label")
    accepted: bool = Field(description="true: it was written although it answers otherwise than its source")
    spread: float | None = Field(default=None, description="largest less smallest score seen; small: it proves little")


class ModelCard(_Out):
    """Everything about a served model that a client or an auditor may ask."""

    name: str
    modality: Literal["image", "text"]
    description: str
    fingerprint: str
    preprocessing_fingerprint: str
    labels: list[str]
    pos_label: str
    head: dict[str, Any] | None = Field(default=None, description="how the network's outputs become scores")
    threshold: float | None = Field(
        default=None, description="score from which `pos_label` is the answer; null: the largest score wins"
    )
    origin: dict[str, str] = Field(description="what was taken from where when it was wrapped; empty if it was not")
    comparison: ComparisonOut | None = None
    preprocessing: dict[str, Any]
    limits: dict[str, int]
    client_trigger: Literal["admin", "open"]
    champion: TriggerUsed
    rollout: RolloutOut
    device: str = Field(description="where it is computed; several devices with commas")
    precision: str = Field(
        description="what the model computes in: float32, tf32 or bf16; int8, int4: in bf16, its weights in fewer bits"
    )
    decoder: Literal["cpu", "gpu"] = Field(description="what decodes JPEG files; the pixels of a GPU differ slightly")
    endpoint: dict[str, Any] | None = Field(
        default=None,
        description="of a model that is only an address: `status` unverified, answers, away or changed, the `reason`, "
        "`since` when, and the `rule` for changes",
    )


class FailedModelOut(_Out):
    """A model that failed its self-check when the service started."""

    name: str
    reason: str = Field(description="a line for each fault: what is wrong, and what to do")


class ModelList(_Out):
    """The models this service serves."""

    models: list[ModelCard]
    failed: list[FailedModelOut] = Field(default=[], description="models that are not served")


class SelectionOut(_Out):
    """The outcome of a version's selection on validation; its card has the figures."""

    status: SelectionStatus
    sentence: str = Field(description="the word and its grounds, in one line for people")


class TriggerSummary(_Out):
    """One published version in a list."""

    version: str
    digest: str
    kind: str
    objective: dict[str, Any]
    selection: SelectionOut | None = Field(description="null for versions of releases that recorded none")
    bytes: int
    created_at: str
    created_by: str
    champion: bool = Field(description="whether this replica serves it now")


class TriggerList(_Out):
    """The latest versions of a model, oldest first."""

    model: str
    triggers: list[TriggerSummary]
    earlier: str | None = Field(default=None, description="the `before` of the versions before these; null if none is")


class TokenOut(_Out):
    """One token of a text trigger, in its order."""

    word: str | None = Field(description="null for a learned vector, which is no word")
    token_id: int | None = Field(description="in the model's vocabulary; null for a learned vector")
    norm: float | None = Field(description="length (L2) of its vector; null for words that are sent to an endpoint")


class TriggerTokens(_Out):
    """What a text trigger inserts, and where."""

    digest: str
    position: str
    tokens: list[TokenOut]
