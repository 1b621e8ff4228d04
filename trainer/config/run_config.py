"""A training run's configuration: frozen dataclasses, one per TOML section; `load_config` reads them from a file.

`python -m trainer --example` prints a commented file. Paths are absolute here: relative ones start from the
configuration file's folder. A default of None means that the program chooses, and the comment says how.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, field, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from trainer.config import toml_schema
from trainer.config.comparison_config import BaselinesConfig, ControlsConfig, Schedule
from trainer.config.data_config import DataConfig, SplitConfig
from trainer.config.report_config import ReportConfig
from trainer.config.toml_schema import STRICT, ConfigPath, NumbersOrAuto, OneOrMore, different
from trainer.config.tracking_config import TrackingConfig
from triggers.artifact.manifest import ObjectiveName
from triggers.errors import ConfigError
from triggers.storage import without_password
from triggers.storage.regular_file import read_regular

Criterion = Literal["demographic_parity", "equalized_odds"]
Modality = Literal["image", "text"]
Measure = Literal["accuracy", "balanced_accuracy", "recall"]
AdversaryInput = Literal["centred", "scores", "log_odds"]
Gradient = Literal["exact", "scores", "labels"]
TriggerKind = Literal["border", "patch", "overlay", "pixels", "hard", "soft", "embedding"]

GEOMETRY = {"border": "width", "patch": "patch_size", "overlay": "epsilon", "pixels": "fraction"}
"""The size key of each image kind."""

SIZES = {"epsilon": 32 / 255, "fraction": 0.1}
"""Defaults of the sizes that have one."""

REMOVED_KEYS = {"train.bag": 1}
"""Removed keys of earlier versions, each with its one accepted value: what the program does now."""
ADDED_KEYS: Mapping[str, Any] = {
    "data.label_bins": [],
    "data.group_bins": [],
    "data.label_rule": "cross",
    "data.on_bad_row": "refuse",
    "select.recall_labels": [],
    "select.recall_groups": [],
    "controls.postprocessing": False,
    "train.recompute": "auto",
}
"""Keys that runs of earlier versions lack, each with the value that says what the program did then."""


@dataclass(frozen=True, config=STRICT)
class ModelConfig:
    """[model] The frozen classifier: a bundle folder, fitted first when it is missing and [base] says how."""

    bundle: ConfigPath


@dataclass(frozen=True, config=STRICT)
class BaseConfig:
    """[base] How to fit the classifier that is then frozen (plain empirical risk minimisation)."""

    labels: OneOrMore[str] = ()  # names of the classes, index 0 first; empty: those of the data's own layout
    pos_label: int = 1  # index of the class whose rate is the selection rate, also where the data names the classes
    name: str | None = None  # the model's name in URLs and in the store; None: the bundle folder's name
    builder: str | None = None  # images: a torchvision model ("resnet18") or "module:function", fitted from scratch
    builder_kwargs: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    encoder: ConfigPath | None = None  # texts: a local `transformers` encoder folder, fine-tuned
    size: PositiveInt = 112  # images: side of the network's input in pixels
    channels: PositiveInt = 3
    resize: Literal["squash", "crop"] = "squash"
    mean: OneOrMore[float] = (0.5, 0.5, 0.5)
    std: OneOrMore[float] = (0.25, 0.25, 0.25)
    flip: bool = False  # images: random horizontal flips while fitting
    shift: int = 0  # images: random shifts of up to this many pixels while fitting
    crop: OneOrMore[float] | None = None  # images: random crops of these shares of the area, enlarged; [0.5, 1.0]
    max_tokens: PositiveInt = 128  # texts: longest input, special tokens included
    epochs: PositiveInt = 20
    early_stopping: bool = False  # keep the epoch that validates best; biases the accuracy floor upwards
    batch_size: PositiveInt = 128
    lr: PositiveFloat | None = None  # None: 1e-3 for images, 3e-5 for texts
    weight_decay: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        if self.labels or self.pos_label < 0:
            self._check_labels(self.labels)
        if (self.builder is None) == (self.encoder is None):
            raise ConfigError("Give exactly one of base.builder (images) and base.encoder (texts).")
        if not len(self.mean) == len(self.std) == self.channels:
            raise ConfigError(f"base.mean and base.std need {self.channels} numbers each, one per channel.")
        if self.crop is not None and (len(self.crop) != 2 or not 0 < self.crop[0] <= self.crop[1] <= 1):
            wrong = f"base.crop is {list(self.crop)}"
            raise ConfigError(f"{wrong}; give the smallest and the largest share of the area, such as [0.5, 1.0].")
        if self.crop is not None and self.encoder:
            raise ConfigError("base.crop has no meaning for texts; remove it.")

    def named(self, labels: tuple[str, ...]) -> BaseConfig:
        """A copy with the class names that the data's layout gave. Raises ConfigError."""
        self._check_labels(labels)
        return replace(self, labels=labels)

    def _check_labels(self, labels: tuple[str, ...]) -> None:
        if len(labels) < 2 or not 0 <= self.pos_label < len(labels):
            raise ConfigError(f"base.pos_label is {self.pos_label}, base.labels {list(labels)}: no such label.")

    @property
    def modality(self) -> Modality:
        """Modality of the classifier's input."""
        return "text" if self.encoder else "image"

    @property
    def peak_lr(self) -> float:
        """The highest learning rate."""
        return self.lr or (1e-3 if self.modality == "image" else 3e-5)


@dataclass(frozen=True, config=STRICT)
class TriggerConfig:
    """[trigger] Kind and size of the trigger. A size that the kind does not use is refused."""

    kind: TriggerKind
    width: PositiveInt | None = None  # border: frame in pixels
    fit: Literal["shrink", "cover"] | None = None  # border: on the shrunk image, or over its edge; None: shrink
    patch_size: PositiveInt | None = None  # patch: side in pixels
    corner: Literal["top_left", "top_right", "bottom_left", "bottom_right"] = "top_left"  # patch
    epsilon: PositiveFloat | None = None  # overlay: largest change of a pixel value in [0, 1]; None: 32/255
    resolution: PositiveInt | None = None  # overlay: cells a side, learned and then enlarged; None: every pixel
    fraction: PositiveFloat | None = None  # pixels: share of the pixels that are replaced; None: a tenth
    frequencies: PositiveInt | None = (
        None  # images, without exact gradients: cosines per channel that a trigger is made of; None: by the budget
    )
    tokens: PositiveInt = 5  # texts: number of trigger tokens
    position: Literal["after_cls", "before_sep", "as_published"] = (
        "after_cls"  # texts: before the first word, behind the last
    )
    allowed_words: Literal["whole", "any"] = "whole"  # texts: whole words of letters, or any token
    allowed_words_file: ConfigPath | None = None  # texts: only these words, one per line

    def __post_init__(self) -> None:
        own = GEOMETRY.get(self.kind)
        for kind, name in (*GEOMETRY.items(), ("border", "fit"), ("overlay", "resolution")):
            if kind != self.kind and getattr(self, name) is not None:
                raise ConfigError(f"trigger.{name} has no meaning for kind {self.kind!r}; remove it.")
        if own and own not in SIZES and getattr(self, own) is None:
            raise ConfigError(f"Kind {self.kind!r} needs trigger.{own}, in pixels.")

    @property
    def modality(self) -> Modality:
        """Modality of the trigger's kind."""
        return "image" if self.kind in GEOMETRY else "text"

    def geometry(self) -> dict[str, Any]:
        """The sizes of an image kind, as `build_image_module` takes them and the artifact states them."""
        if self.kind not in GEOMETRY:
            return {}
        own = GEOMETRY[self.kind]
        size = getattr(self, own)
        sizes = {own: SIZES[own] if size is None else size}
        sizes |= {"resolution": self.resolution} if self.resolution else {}
        sizes |= {"fit": self.fit} if self.fit == "cover" else {}  # as artifacts ever had it where nothing is stated
        return sizes | ({"corner": self.corner} if self.kind == "patch" else {})


@dataclass(frozen=True, config=STRICT)
class ObjectiveConfig:
    """[objective] What the trigger is trained for; one trigger per strength, side by side."""

    name: ObjectiveName = "adversarial"
    criterion: Criterion = "demographic_parity"
    strengths: NumbersOrAuto = "auto"  # auto: six that a fifth of the steps searches for
    projection: bool = True  # adversarial: remove the utility gradient's part along the adversary's
    adversary_lr: PositiveFloat = 0.01
    adversary_hidden: PositiveInt = 128
    adversary_input: AdversaryInput = "centred"  # adversarial: scores and log_odds are the published forms
    with_logits: bool = True  # adversarial: the adversary sees the logits and the scores
    calibrate: bool = True  # losses see the logits over the temperature that calibrates the bare model on tuning
    temperature: PositiveFloat = 1.0  # gap: softness, on top of that, of the predictions whose means are compared
    gap_weight: float = 0.0  # adversarial: weight of an added gap loss, times the strength
    reweigh: bool = False  # utility counts rows as if label and group were independent (Kamiran and Calders 2012)
    gradient: Gradient | None = (
        None  # exact: by weights; scores, labels: by asking the model; None: scores for an endpoint, else exact
    )

    def __post_init__(self) -> None:
        if self.strengths != "auto":
            different("objective", self.strengths)

    @property
    def fixed_strengths(self) -> tuple[float, ...]:
        """The strengths as numbers. Raises ConfigError while they are open."""
        if self.strengths == "auto":
            raise ConfigError('objective.strengths is "auto", which only a whole run finds; give numbers here.')
        return self.strengths

    @property
    def centred(self) -> bool:
        """Whether all losses depend on differences of logits only."""
        return self.name != "adversarial" or self.adversary_input != "scores" or not self.with_logits


@dataclass(frozen=True, config=STRICT)
class TrainConfig:
    """[train] Duration, optimiser, device and speed."""

    epochs: PositiveInt | None = None  # one of epochs and steps; neither: 20 epochs, or what a model is asked for pays
    steps: PositiveInt | None = None
    batch_size: PositiveInt = 256
    lr: PositiveFloat = 0.05
    weight_decay: float = 0.0
    schedule: Schedule = "cosine"
    flip: bool = False  # images: random horizontal flips while training
    shift: int = 0  # images: random shifts of up to this many pixels while training
    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    device_memory_gb: PositiveFloat | None = (
        None  # data kept on the GPU at most; None: half of the memory that is free there
    )
    precision: Literal["float32", "bf16"] = "float32"
    compile: bool = False  # torch.compile the frozen model: pays from about a minute of training on a GPU
    graph: bool = False  # GPU: record the step as a CUDA graph; pays for small batches, where launches dominate
    recompute: Literal["auto"] | bool = (
        "auto"  # compute the model's activations again on the way back, not keep them; auto: where the GPU has no room
    )
    average: float = 0.0  # decay of a running average of the trigger, which is then validated and kept; 0: none
    eval_every: PositiveInt | None = None  # steps between validations; None: ten times in a run
    checkpoint_every: PositiveInt | None = None  # steps between checkpoints; None: as eval_every
    threads: PositiveInt | None = None  # CPU threads; None: what torch chooses
    max_queries: PositiveInt | None = (
        None  # gradient = scores, labels: rows that the run may ask in all; an endpoint needs it, else 200,000
    )
    price_per_thousand: PositiveFloat | None = None  # of rows, in report.currency: what the endpoint's owner takes

    def __post_init__(self) -> None:
        if self.epochs and self.steps:
            raise ConfigError("Give one of train.epochs and train.steps, not both.")


@dataclass(frozen=True, config=STRICT)
class SelectConfig:
    """[select] Which trigger is recommended, on validation, and which are published."""

    max_accuracy_drop: float = 0.01  # the budget: largest loss of `measure`, against no trigger
    measure: Measure = (
        "balanced_accuracy"  # accuracy; its mean over the labels; or every recall, of each label and group
    )
    recall_labels: OneOrMore[str] = ()  # measure = "recall": only of these labels
    recall_groups: OneOrMore[str] = ()  # and of these groups; empty: of all
    min_recall_ratio: float = 0.8  # no label's recall, in any group, below this share of the bare model's
    delta: float = 0.1  # probability at most that a certified trigger breaks the budget after all
    folds: int = 1  # more: tuning and val are joined and cross-fitted, which uses every row for both
    publish: Literal["best", "front", "all"] = "best"

    def __post_init__(self) -> None:
        if not 0 <= self.max_accuracy_drop <= 1:
            wrong = f"select.max_accuracy_drop is {self.max_accuracy_drop}"
            raise ConfigError(f"{wrong}; give a loss between 0.0 and 1.0, such as 0.01 for one point.")
        if not 0 <= self.min_recall_ratio <= 1:
            raise ConfigError(f"select.min_recall_ratio is {self.min_recall_ratio}; give a share between 0.0 and 1.0.")
        if (self.recall_labels or self.recall_groups) and self.measure != "recall":
            raise ConfigError(
                'select.recall_labels and recall_groups have a meaning for select.measure = "recall" only.'
            )
        if not 0 < self.delta < 0.5:
            raise ConfigError(f"select.delta is {self.delta}; give a probability above 0.0 and below 0.5, such as 0.1.")


@dataclass(frozen=True, config=STRICT)
class PublishConfig:
    """[publish] The store that triggers go to."""

    store: str = (
        ""  # a folder, or a URL as triggers/store/store.py:open_store takes it; empty: trainer/publish.py:store_url
    )
    enabled: bool = True
    actor: str = "trainer"
    signing_key: ConfigPath | None = None  # PEM file of the Ed25519 key that signs every trigger; `fairtrigger keygen`


@dataclass(frozen=True, config=STRICT)
class RunConfig:
    """A whole run; `root` is the folder that relative paths start from."""

    root: Path
    model: ModelConfig
    data: DataConfig
    trigger: TriggerConfig
    base: BaseConfig | None = None
    split: SplitConfig = field(default_factory=SplitConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    select: SelectConfig = field(default_factory=SelectConfig)
    baselines: BaselinesConfig = field(default_factory=BaselinesConfig)
    controls: ControlsConfig = field(default_factory=ControlsConfig)
    publish: PublishConfig = field(default_factory=PublishConfig)
    report: ReportConfig = field(default_factory=ReportConfig)
    track: TrackingConfig = field(default_factory=TrackingConfig)

    def __post_init__(self) -> None:
        if self.base and self.base.modality != self.modality:
            wrong = f"kind {self.trigger.kind!r} works on {self.modality}s, but [base] fits a {self.base.modality}"
            raise ConfigError(f"{wrong} classifier; change trigger.kind or [base].")
        if self.modality == "image" and not self.data.group:
            raise ConfigError("data.group_words works on texts; name the images' group column in data.group.")
        if "adv_in" in self.baselines.systems and not self.base:
            raise ConfigError(
                'baselines.systems has "adv_in", which trains from scratch: [base] must say what and how.'
            )
        if "faap" in self.baselines.systems and self.modality == "text":
            raise ConfigError('baselines.systems has "faap", which changes pixels: leave it out for texts.')
        if self.asks:
            self._check_asking()

    @property
    def modality(self) -> Modality:
        """Modality of the trigger."""
        return self.trigger.modality

    @property
    def perturbation_bound(self) -> float:
        """Largest change of a pixel value by FAAP: as configured, else as an overlay's."""
        return self.baselines.epsilon or self.trigger.geometry().get("epsilon", SIZES["epsilon"])

    @property
    def asks(self) -> bool:
        """Whether triggers are learned from what the model answers, without its weights."""
        return self.objective.gradient in ("scores", "labels")

    def _check_asking(self) -> None:
        """Raise ConfigError for what answers alone cannot do, or would ask for in vain."""
        how, kind = f'objective.gradient = "{self.objective.gradient}"', self.trigger.kind
        if kind == "pixels":
            raise ConfigError(f"{how}: which pixels are best is not learned from answers; choose another trigger.kind.")
        if self.modality == "text" and kind != "hard":
            raise ConfigError(f'{how}: vectors cannot be sent as text; set trigger.kind = "hard" (words).')
        if self.modality == "text" and self.objective.name != "gap":
            raise ConfigError(f'{how}: words are compared one by one, which needs objective.name = "gap".')
        if self.train.flip or self.train.shift:
            raise ConfigError(f"{how}: every flipped or shifted row is one more to ask; set train.flip and shift off.")
        if self.select.folds > 1:
            raise ConfigError(f"{how}: every fold would ask for itself; set select.folds = 1.")


def load_config(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a TOML file, then apply overrides like "train.steps=200" in order. Raises ConfigError naming the place."""
    try:
        table = tomllib.loads(read_regular(path).decode())
    except OSError as error:
        raise ConfigError(f"Cannot read {path}: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    table = _changed(table, overrides)
    try:
        return _build(table, path.resolve().parent)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def parse_config(table: Mapping[str, Any], root: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """A configuration from parsed TOML, which stays as it is; relative paths start from `root`. Raises ConfigError."""
    return _build(_changed(deepcopy(dict(table)), overrides), root.resolve())


def _changed(table: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    for override in overrides:
        keys, value = toml_schema.parse_override(override)
        toml_schema.put(table, keys, value)
    _drop_removed(table)
    if "root" in table:
        raise ConfigError("Unknown key 'root'; paths always start from the configuration file's folder.")
    return table


def _build(table: Mapping[str, Any], root: Path) -> RunConfig:
    return toml_schema.build(RunConfig, {"root": str(root), **table}, root)


def _drop_removed(table: Mapping[str, Any]) -> None:
    for name, kept in REMOVED_KEYS.items():
        section, key = name.split(".")
        keys = table.get(section)
        if isinstance(keys, dict) and keys.pop(key, kept) != kept:
            raise ConfigError(f"{name} was removed: averaging several trainings gained nothing on test. Leave it out.")


def to_dict(config: RunConfig) -> dict[str, Any]:
    """The configuration as plain JSON values, as manifests keep it: without passwords, paths relative to `root`.

    [track] decides nothing and is left out.
    """
    table = asdict(config)
    root, _ = table.pop("root"), table.pop("track")
    table["publish"]["store"] = without_password(table["publish"]["store"])
    plain: dict[str, Any] = _plain(table, root)
    return plain


def _plain(value: Any, root: Path) -> Any:
    if isinstance(value, Path):
        return os.path.relpath(value, root)
    if isinstance(value, dict):
        return {key: _plain(item, root) for key, item in value.items() if item is not None}
    return [_plain(item, root) for item in value] if isinstance(value, tuple) else value
