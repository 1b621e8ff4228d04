"""A training run's configuration: frozen dataclasses, one per TOML section; `load_config` reads them from a file.

`python -m trainer --example` prints a commented file. Paths are absolute here: relative ones are taken from the
configuration file's folder. A default of None means that the program chooses and the comment says how.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Criterion = Literal["demographic_parity", "equalized_odds"]
Modality = Literal["image", "text"]

IMAGE_KINDS = ("border", "patch", "overlay", "pixels")
TEXT_KINDS = ("hard", "soft", "embedding")
TriggerKind = Literal["border", "patch", "overlay", "pixels", "hard", "soft", "embedding"]


@dataclass(frozen=True)
class ModelConfig:
    """[model] The frozen classifier: a bundle folder, fitted first when it is missing and [base] says how."""

    bundle: Path
    name: str | None = None  # the model's name in the store; None: what the bundle says, or its folder's name


@dataclass(frozen=True)
class BaseConfig:
    """[base] How to fit the classifier that is then frozen (plain empirical risk minimisation)."""

    labels: tuple[str, ...]  # names of the classes, index 0 first
    pos_label: int = 1  # index of the favourable class, whose rate is the selection rate
    builder: str | None = None  # images: a torchvision model ("resnet18") or "module:function", fitted from scratch
    builder_kwargs: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    encoder: Path | None = None  # texts: a local `transformers` encoder folder, fine-tuned
    size: int = 112  # images: side of the network's input in pixels
    channels: int = 3
    resize: Literal["squash", "crop"] = "squash"
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.25, 0.25, 0.25)
    augment: bool = True  # images: random flip and shift
    max_tokens: int = 128  # texts: longest input, special tokens included
    epochs: int = 20
    batch_size: int = 128
    lr: float | None = None  # None: 1e-3 for images, 3e-5 for texts
    weight_decay: float = 0.01
    seed: int = 0


@dataclass(frozen=True)
class DataConfig:
    """[data] Where the labelled, grouped inputs are."""

    format: Literal["csv", "celeba", "datasets"]
    path: Path  # csv: the file; celeba: a folder or a .tar of it; datasets: a `save_to_disk` folder
    label: str  # column or attribute that holds the label
    group: tuple[str, ...] = ()  # column(s) or attribute(s); several are crossed
    group_names: tuple[str, ...] = ()  # names of the groups, index 0 first; empty: the values found, sorted
    group_words: tuple[str, ...] = ()  # texts: group = does the text contain one of these; "word*" matches endings
    group_words_file: Path | None = None  # the same, one per line
    missing_group: Literal["refuse", "drop"] = "refuse"  # rows without a known group
    input: str | None = None  # column of the image path or text; None: "path"/"text", or "image"/"text"
    root: Path | None = None  # csv: folder that image paths start from; None: the file's folder
    limit: int | None = None  # at most so many rows, chosen by `seed`, for a quick try
    seed: int = 0


@dataclass(frozen=True)
class SplitConfig:
    """[split] Sizes: a whole number is rows, a fraction is a share of the pool.

    Without a partition in the data there is one pool. With one, `base` and `tuning` share the train pool, and `val`
    and `test` have theirs. None: .5 / .2 / .15 / .15 of one pool, or .7 / .3 / 1 / 1 of their own pools.
    """

    column: str | None = None  # csv: column that holds train/val/test (or base/tuning/val/test); None: "split" if there
    base: int | float | None = None
    tuning: int | float | None = None
    val: int | float | None = None
    test: int | float | None = None
    seed: int = 0


@dataclass(frozen=True)
class TriggerConfig:
    """[trigger] What is learned. A geometry key that the kind does not use is refused."""

    kind: TriggerKind
    width: int | None = None  # border: frame in pixels
    patch_size: int | None = None  # patch: side in pixels
    corner: Literal["top_left", "top_right", "bottom_left", "bottom_right"] = "top_left"  # patch
    epsilon: float | None = None  # overlay: largest change of a pixel value in [0, 1]
    fraction: float | None = None  # pixels: share of the pixels that are replaced
    tokens: int = 5  # texts: number of trigger tokens
    position: Literal["after_cls", "before_sep", "as_published"] = "after_cls"  # texts
    allowed_words: Literal["whole", "any"] = "whole"  # texts: whole words of the vocabulary, or any piece of it
    allowed_words_file: Path | None = None  # texts: only these words, one per line


@dataclass(frozen=True)
class ObjectiveConfig:
    """[objective] What the trigger is trained for; one trigger per strength, side by side."""

    name: Literal["adversarial", "gap"] = "adversarial"
    criterion: Criterion = "demographic_parity"
    strengths: tuple[float, ...] = (1.0,)
    projection: bool = True  # adversarial: remove the utility gradient's part along the adversary's
    adversary_lr: float = 0.01
    adversary_hidden: int = 128
    with_logits: bool = True  # adversarial: the adversary sees the logits beside the scores
    temperature: float = 1.0  # gap: softness of the predictions whose means are compared


@dataclass(frozen=True)
class TrainConfig:
    """[train] How long and where."""

    epochs: int | None = None  # exactly one of epochs and steps; neither: 20 epochs
    steps: int | None = None
    batch_size: int = 256
    lr: float = 0.05
    weight_decay: float = 0.0
    schedule: Literal["constant", "step", "cosine", "linear"] = "cosine"
    flip: bool = False  # images: random horizontal flips while training
    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["float32", "bf16"] = "float32"
    eval_every: int | None = None  # steps between validations; None: ten times in a run
    checkpoint_every: int | None = None  # steps between checkpoints; None: as eval_every
    threads: int | None = None  # CPU threads; None: what torch chooses


@dataclass(frozen=True)
class SelectConfig:
    """[select] Which trigger is recommended, on validation, and which are published."""

    max_accuracy_drop: float = 0.01  # against no trigger
    publish: Literal["best", "front", "all"] = "best"


@dataclass(frozen=True)
class PublishConfig:
    """[publish] Where the trigger goes."""

    store: str = "store"  # a folder or a URL
    enabled: bool = True
    actor: str = "trainer"


@dataclass(frozen=True)
class RunConfig:
    """A whole run; `root` is the folder that relative paths start from."""

    root: Path
    model: ModelConfig
    data: DataConfig
    trigger: TriggerConfig
    base: BaseConfig | None = None
    split: SplitConfig = SplitConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    train: TrainConfig = TrainConfig()
    select: SelectConfig = SelectConfig()
    publish: PublishConfig = PublishConfig()

    @property
    def modality(self) -> Modality:
        """What the trigger's kind works on."""
        return "image" if self.trigger.kind in IMAGE_KINDS else "text"
