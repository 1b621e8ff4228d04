"""The manifest of an artifact, a frozen pydantic model, and the rule for model names."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from triggers.artifact.selection_record import SelectionRecord
from triggers.errors import ConfigError
from triggers.metrics.overlapping_groups import NO_GROUP, groups_of

MANIFEST_FORMAT: Literal[1] = 1
MODEL_NAME = r"[a-z0-9][a-z0-9._-]{0,63}"

Count = Annotated[int, Field(ge=0)]
ClassIndex = Annotated[int, Field(ge=0)]
ModelName = Annotated[str, Field(pattern=f"^{MODEL_NAME}$")]
Sha256 = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
ObjectiveName: TypeAlias = Literal["adversarial", "gap", "mmd"]
YOUNGER_FIELDS = ("groups_overlap", "scoring", "selection")
"""Fields that are left out where empty: artifacts that are older than them keep their digests."""


class ManifestRecord(BaseModel):
    """Base of everything inside a manifest: immutable, no unknown fields, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())


class ObjectiveRecord(ManifestRecord):
    """The training objective of the trigger."""

    name: ObjectiveName
    criterion: Literal["demographic_parity", "equalized_odds"]
    strength: Annotated[float, Field(ge=0)]


class DataCount(ManifestRecord):
    """The number of rows of a group and label in a split."""

    split: str
    group: str
    label: ClassIndex
    count: Count


class EvaluationCell(ManifestRecord):
    """One confusion count: rows of a split, group and label predicted so, with the trigger or without it."""

    split: str
    trigger: bool
    group: str
    label: ClassIndex
    prediction: ClassIndex
    count: Count


class Provenance(ManifestRecord):
    """The origin of the artifact: who made it, when, with what. The only part that the digest leaves out."""

    created_at: str
    created_by: str
    code_version: str
    device: str
    duration_seconds: Annotated[float, Field(ge=0)]
    config: dict[str, JsonValue] = {}


class Manifest(ManifestRecord):
    """Everything needed to use, judge and reproduce a trigger, apart from its tensors.

    `geometry` always holds `channels`, `size`, `inner` (image) or `dim`, `tokens`, `position` (text);
    `manifest_checks.geometry_of` gives them. An image that is not square has `image_height` and `image_width` instead
    of `size`. A kind may add its own, which is then checked: `width` (border), `patch_size`
    (patch), `fraction` (pixels); an overlay must state its `epsilon`, a border that shrinks nothing states its `width`
    and `fit` = "cover", which earlier releases refuse. `value_range` bounds the pixels that an image trigger writes, or
    the entries of a text trigger's embeddings; `bounds.value_range_of` gives it. With `groups_overlap`, `groups` are
    the identities, and the counts' groups join those of their rows (see `identities`).
    `scoring` is `BundleSpec.fingerprint_fields` of the model: its head and threshold, where they are not plain softmax.
    `selection` is the outcome of its selection on validation; artifacts of earlier releases have none.
    """

    format: Literal[1] = MANIFEST_FORMAT
    model: ModelName
    modality: Literal["image", "text"]
    kind: str
    geometry: dict[str, int | float | str]
    value_range: tuple[float, float]
    model_fingerprint: Sha256
    preprocessing_fingerprint: Sha256
    labels: Annotated[tuple[str, ...], Field(min_length=2)]
    pos_label: ClassIndex
    scoring: dict[str, JsonValue] = {}
    groups: tuple[str, ...]
    groups_overlap: bool = False
    objective: ObjectiveRecord
    seed: int
    steps: Count
    data_counts: tuple[DataCount, ...] = ()
    evaluation: tuple[EvaluationCell, ...] = ()
    parent: int | None = None
    words: tuple[str, ...] | None = None
    selection: SelectionRecord | None = None
    provenance: Provenance

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        known = len(self.labels)
        used = {self.pos_label, *(row.label for row in self.data_counts)}
        used |= {index for row in self.evaluation for index in (row.label, row.prediction)}
        if max(used) >= known:
            raise ValueError(f"label index {max(used)} is used, but there are {known} labels")
        if self.value_range[0] > self.value_range[1]:
            raise ValueError(f"value_range {self.value_range} is upside down")
        cells = [(row.split, row.trigger, row.group, row.label, row.prediction) for row in self.evaluation]
        if len(set(cells)) != len(cells):
            raise ValueError("evaluation counts the same (split, trigger, group, label, prediction) twice")
        return self

    @model_validator(mode="after")
    def _known_identities(self) -> Self:
        counted = {row.group for row in self.data_counts} | {row.group for row in self.evaluation}
        strange = {group for cell in counted for group in groups_of(cell)} - {*self.groups, NO_GROUP}
        if self.groups_overlap and strange:
            raise ValueError(f"rows of {sorted(strange)} are counted, which are none of the groups {self.groups}")
        return self

    @model_serializer(mode="wrap")
    def _as_ever(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out the `YOUNGER_FIELDS` where empty."""
        fields: dict[str, Any] = plain(self)
        return {name: value for name, value in fields.items() if name not in YOUNGER_FIELDS or value}

    def content(self) -> dict[str, JsonValue]:
        """Everything but `provenance`, JSON-ready: the part that the digest covers."""
        return self.model_dump(mode="json", exclude={"provenance"})

    def counts(self, split: str, *, trigger: bool) -> dict[tuple[str, int | None, int], int]:
        """Confusion counts {(group, label, prediction): n} of a split, as `fairness.evaluate_counts` takes them."""
        rows = [row for row in self.evaluation if row.split == split and row.trigger is trigger]
        return {(row.group, row.label, row.prediction): row.count for row in rows}


def check_model_name(name: str) -> str:
    """Return `name` if it is a safe model name, which is also a safe folder name; otherwise raise ConfigError."""
    if re.fullmatch(MODEL_NAME, name):
        return name
    raise ConfigError(f"Bad model name {name!r}: use 1 to 64 of a-z, 0-9 and ._- with a letter or digit first.")
