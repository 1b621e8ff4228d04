"""The overview of a run: everything that can be told in seconds, before anything is fitted or trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self, get_args

from trainer.config import Criterion, RunConfig
from trainer.data import DataLoader
from trainer.evaluation.power import CertificationPower, VisibleGap, certification_power, visible_gaps
from trainer.evaluation.selection import recalls
from trainer.overview.bare_sample import BareSample, sample_bare
from trainer.overview.cautions import data_cautions, input_cautions, model_cautions
from trainer.overview.part_rows import PartRows
from trainer.progress import Progress, Task
from trainer.queries import with_gradient
from trainer.train import open_data, pick_device
from trainer.training.black_box import DEFAULT_QUERIES, plan_queries, plan_sentence
from triggers.metrics import FairnessReport
from triggers.model import FrozenClassifier, load_bundle
from triggers.model.bundle import SPEC_FILE, read_spec
from triggers.model.endpoint.endpoint_network import EndpointNetwork

_CRITERIA: tuple[Criterion, ...] = get_args(Criterion)
BARE_SECONDS = 0.5
"""Time for predictions of the bare model."""


@dataclass(frozen=True, eq=False)
class Overview:
    """What is known before training. `bare` and `report`, on validation rows, are None where the bundle is missing.

    `source_rows`: rows of the data, used or not. `notes`: how they were read. `visible`: by criterion, what the test
    part can show. `certified`: what the validation part can.
    """

    config: RunConfig
    source_rows: int
    notes: Sequence[str]
    parts: PartRows
    bare: BareSample | None
    report: FairnessReport | None
    visible: Mapping[Criterion, Sequence[VisibleGap]]
    certified: CertificationPower | None
    cautions: Sequence[str]


def make_overview(config: RunConfig, cache: Path, progress: Progress, bare_seconds: float = BARE_SECONDS) -> Overview:
    """Read and split the data, predict some validation rows with the bare model if it is there; fit nothing.

    `cache` is the folder for digests of the data. Raises ConfigError, DataError or ModelError, as the run would.
    """
    kept, folder = _KeptNotes(progress), config.model.bundle
    loader = open_data(config, cache, kept)
    fitted = (folder / SPEC_FILE).exists()
    parts = PartRows.of(loader, _pos_label(config, loader), overlapping=config.data.groups_overlap)
    cautions, bare, report = data_cautions(config, parts, fitted=fitted), None, None
    if fitted and parts.size("val"):
        classifier = load_bundle(folder, str(pick_device(config.train.device)))
        endpoint = classifier.network if isinstance(classifier.network, EndpointNetwork) else None
        with closing(endpoint.connection) if endpoint else nullcontext():  # whose every row may cost
            bare = sample_bare(classifier, loader, 0.0 if endpoint else bare_seconds)
        if endpoint or config.asks:
            kept.note(_asking(config, classifier, parts))
        image = classifier.spec.image
        cautions += input_cautions(bare, (image.width, image.height) if image else None)
    if bare and bare.rows:
        report = parts.report(bare.counts)
    visible = {criterion: _visible(parts, bare, criterion) for criterion in _CRITERIA}
    if bare and report:
        own = config.objective.criterion
        cautions = [*model_cautions(parts, bare, report, own, visible[own]), *cautions]
    certified = _certified(config, parts, bare)
    return Overview(config, len(loader.source.rows), kept.notes, parts, bare, report, visible, certified, cautions)


def _asking(config: RunConfig, classifier: FrozenClassifier, parts: PartRows) -> str:
    """What the run would ask. Raises ConfigError, as the run would."""
    if config.train.max_queries is None:
        config = replace(config, train=replace(config.train, max_queries=DEFAULT_QUERIES))
    asking = with_gradient(config, classifier.spec)
    return plan_sentence(asking, plan_queries(asking, {part: parts.size(part) for part in ("tuning", "val", "test")}))


def validation_parts(config: RunConfig) -> tuple[str, ...]:
    """The parts that triggers are judged on: both where they are cross-fitted."""
    return ("tuning", "val") if config.select.folds > 1 else ("val",)


def _pos_label(config: RunConfig, loader: DataLoader) -> int:
    folder = config.model.bundle
    if (folder / SPEC_FILE).exists():
        return read_spec(folder).pos_label
    assert config.base
    return config.base.named(loader.label_names).pos_label


def _visible(parts: PartRows, bare: BareSample | None, criterion: Criterion) -> list[VisibleGap]:
    known = parts.count_table(bare.counts) if bare and bare.rows else None
    return visible_gaps(parts.table("test"), known, criterion, parts.pos_label, len(parts.label_names))


def _certified(config: RunConfig, parts: PartRows, bare: BareSample | None) -> CertificationPower | None:
    rows = parts.rows(*validation_parts(config))
    if not rows:
        return None
    found = recalls(bare.counts, overlapping=parts.overlapping) if bare else {}
    known = {label: hits / n for (label, group), (hits, n) in found.items() if group is None}
    return certification_power(rows, known, config.select)


class _KeptNotes:
    """A progress display whose notes are kept for the overview instead of shown."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self.tracker = progress, progress.tracker
        self.notes: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @contextmanager
    def task(self, title: str, total: int, done: int = 0) -> Iterator[Task]:
        with self._progress.task(title, total, done) as task:
            yield task

    def note(self, text: str) -> None:
        self.notes.append(text)
