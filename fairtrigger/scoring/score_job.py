"""The job of scoring: a file, folder or data frame under some versions, into one score file."""

from __future__ import annotations

import csv
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

from fairtrigger.score_record import read_score_record
from fairtrigger.scoring.batch_scorer import BatchScorer
from fairtrigger.scoring.ledger_counts import check_countable, count_scores
from fairtrigger.scoring.score_file import ScoreFormat, ScoreLayout, score_format
from fairtrigger.scoring.score_parts import PartTotals, ScoreParts, check_request
from fairtrigger.scoring.scoring_pipeline import WINDOW_BATCHES, ScoredWindow, ScoringPipeline, chained
from fairtrigger.scoring.version_choice import ScoringVersion, choose_versions
from trainer.data import InputConfig, InputTable
from trainer.progress import Progress
from triggers.artifact.signature import TRUST_ANYONE, Trust
from triggers.errors import ConfigError, DataError
from triggers.model import FrozenClassifier, load_bundle
from triggers.store import Store, open_store

MOST_HELD = 16_384
"""Rows in memory that wait to be written, about."""
BadRowAction = Literal["stop", "skip"]


class InputOptions(TypedDict, total=False):
    """How the inputs are read: as the keys of [data] in a run of the trainer. `group` names columns, `id` one of them.

    `text` or `image` is the column of the inputs, `label` that of the known labels.
    """

    format: str
    text: str | None
    image: str | None
    id: str | None
    label: str | None
    group: Sequence[str]
    label_map: Mapping[str, str]
    root: Path | str | None
    columns_from_path: str | None
    delimiter: str | None
    encoding: str | None


@dataclass(frozen=True)
class ScoreResult:
    """What a scoring came to: `rows` of the input, of which `scored` and `bad` ones; `cut` texts were too long.

    `counted` are the rows that the ledger did not know before, None without one; `resumed` rows were there already.
    """

    out: Path
    rows: int
    scored: int
    bad: int
    cut: int
    versions: tuple[str, ...]
    resumed: int = 0
    seconds: float = 0.0
    counted: int | None = None

    @property
    def bad_file(self) -> Path:
        """The file of the rows that were left out; there only if there are any."""
        return self.out.with_name(f"{self.out.name}.bad.csv")

    def frame(self) -> Any:
        """The score file as a pandas data frame."""
        import pandas

        if self.out.suffix.lower() == ".parquet":
            return pandas.read_parquet(self.out)
        return pandas.read_csv(self.out, keep_default_na=False, na_values={name: [""] for name in self._figures()})

    def _figures(self) -> list[str]:
        """The columns of numbers, of which an empty field is a missing one."""
        with self.out.open(newline="", encoding="utf-8") as file:
            names = next(csv.reader(file))
        return [name for name in names if name == "threshold" or name.startswith("score_")]


def score(
    bundle: Path | str,
    inputs: Any,
    out: Path | str,
    *,
    trigger: Sequence[str] | str = (),
    store: Store | str | None = None,
    device: str = "cpu",
    batch_size: int = 32,
    workers: int | None = None,
    bad_rows: BadRowAction = "stop",
    count_into: str | None = None,
    overwrite: bool = False,
    checkpoint_seconds: float = 5.0,
    progress: Progress | None = None,
    trust: Trust = TRUST_ANYONE,
    certified: bool = False,
    **options: Unpack[InputOptions],
) -> ScoreResult:
    """Score all rows of `inputs` (a path or a data frame) into `out` (.parquet or .csv), under one or more triggers.

    `trigger` holds the words of `choose_versions`; `device` is cpu, cuda, cuda:1, several by commas, or all. A row that
    cannot be used stops the job, or is written to `out`.bad.csv. The same call goes on after a kill. Raises
    FairtriggerError.
    """
    began, out = time.monotonic(), Path(out)
    kind, devices = score_format(out), _devices(device)
    words = [trigger] if isinstance(trigger, str) else trigger
    with ExitStack() as stack:
        if isinstance(store, str):
            store = stack.enter_context(open_store(store, create=False, trust=trust))
        classifiers = [load_bundle(bundle, each) for each in devices]
        first = classifiers[0]
        versions = choose_versions(words, first, store, trust=trust, certified=certified)
        if count_into:
            check_countable(versions)
        config = _config(inputs, options, first.modality)
        job = _ScoreJob(config, first, versions, kind, out, bad_rows, progress)
        scorers = [BatchScorer(each, versions, batch_size) for each in classifiers]
        result = job.run(scorers, batch_size, workers or os.cpu_count() or 1, checkpoint_seconds, overwrite)
        if count_into:
            result = replace(result, counted=count_scores(out, count_into, first, store))
    return replace(result, seconds=time.monotonic() - began)


class _ScoreJob:
    """One score file: its input, its model and versions, its request."""

    def __init__(
        self,
        config: InputConfig,
        classifier: FrozenClassifier,
        versions: Sequence[ScoringVersion],
        kind: ScoreFormat,
        out: Path,
        bad_rows: BadRowAction,
        progress: Progress | None,
    ) -> None:
        self._config, self._classifier, self._versions, self._format = config, classifier, versions, kind
        self._out, self._bad_rows, self._progress = out, bad_rows, progress
        names = config.groups
        self._groups = {"group" if len(names) == 1 else f"group_{name}": name for name in names}
        threshold = classifier.decision.threshold
        self._layout = ScoreLayout(classifier.labels, versions, threshold, tuple(self._groups))
        with option_words():
            self._table = InputTable(config, classifier.spec.modality, classifier.labels)

    def run(
        self, scorers: Sequence[BatchScorer], batch_size: int, workers: int, checkpoint_seconds: float, overwrite: bool
    ) -> ScoreResult:
        """Do what is left to do."""
        window = batch_size * WINDOW_BATCHES
        with ScoringPipeline(self._table, scorers, window, workers) as pipeline:
            parts = ScoreParts(self._out, self._format.suffix, self._request(), overwrite=overwrite)
            before = None if overwrite or parts.folder.exists() else self._finished(pipeline)
            if before:
                return before
            with parts:
                done = parts.totals()
                self._score_rest(pipeline, parts, done, checkpoint_seconds)
                for scorer in scorers:
                    scorer.classifier.verify()  # the weights, or the answers of an address, are those of the beginning
                totals = parts.totals()
                self._finish(parts, totals)
        names = tuple(version.name for version in self._versions)
        return ScoreResult(self._out, totals.rows, totals.scored, totals.bad, totals.cut, names, resumed=done.rows)

    def _request(self) -> dict[str, Any]:
        """What decides the content of the file, by the part that a difference is told of."""
        spec, config = self._classifier.spec, self._config
        options = asdict(replace(config, frame=None))
        del options["path"], options["frame"]
        return {
            "software": f"fairtrigger {version('fairtrigger')}",
            "model": {
                "name": spec.name,
                "digest": self._classifier.fingerprint,
                "preprocessing": self._classifier.preprocessing_fingerprint,
            },
            "labels": list(spec.labels),
            "decision": {"positive": spec.labels[spec.pos_label], "threshold": spec.decision.threshold},
            "versions": [{"name": each.name, "digest": each.digest} for each in self._versions],
            "groups": self._groups,
            "options": json.loads(json.dumps(options, default=str)),
        }

    def _finished(self, pipeline: ScoringPipeline) -> ScoreResult | None:
        """The result of a file that is there and of this very input; None without one. Raises ConfigError."""
        text = read_score_record(self._out) if self._out.exists() else None
        if text is None:
            if self._out.exists():
                raise ConfigError(f"{self._out} is there and is no score file: name another --out.")
            return None
        found = json.loads(text)
        check_request(found, self._request(), f"{self._out} was scored")
        with option_words():
            digest = chained(b"", list(pipeline.digests(self._table.rows())))
        check_request(found["input"], {"digest": _named(digest)}, f"{self._out} was scored")
        names, sums = tuple(each.name for each in self._versions), found["input"]
        rows = sums["rows"]
        return ScoreResult(self._out, rows, sums["scored"], sums["bad"], sums["cut"], names, resumed=rows)

    def _score_rest(self, pipeline: ScoringPipeline, parts: ScoreParts, done: PartTotals, seconds: float) -> None:
        if done.bad and self._bad_rows == "stop":
            raise DataError(f"{done.bad} rows were left out before: go on with --bad-rows skip, or --overwrite.")
        with option_words():
            rows = self._table.rows()
            digest = chained(b"", list(pipeline.digests(islice(rows, done.rows))))
            if done.rows and _named(digest) != done.digest:
                raise ConfigError(
                    f"{parts.folder} was begun otherwise, the first {done.rows} rows of its input were other ones: "
                    "name another --out, or begin anew with --overwrite."
                )
            held: list[ScoredWindow] = []
            written = time.monotonic()
            with self._progress_bar(done.rows) as advance:
                for window in pipeline.results(rows):
                    self._refuse_bad(window)
                    held.append(window)
                    advance(window.end - window.first)
                    full = held[-1].end - held[0].first >= MOST_HELD
                    if full or time.monotonic() - written >= seconds:
                        digest = self._write(parts, held, digest)
                        held, written = [], time.monotonic()
            if held:
                self._write(parts, held, digest)

    @contextmanager
    def _progress_bar(self, done: int) -> Iterator[Callable[[int], None]]:
        if self._progress is None:
            yield lambda rows: None
            return
        for note in self._table.notes:
            self._progress.note(note)
        if done:
            self._progress.note(f"{done} rows were scored before; going on")
        with self._progress.task("score", self._table.size(), done=done) as task:
            yield task.advance

    def _refuse_bad(self, window: ScoredWindow) -> None:
        if window.bad and self._bad_rows == "stop":
            where, problem = self._table.where(window.bad[0].number), window.bad[0].problem.removesuffix(".")
            said = problem if problem.startswith(where) else f"{where}: {problem}"
            raise DataError(f"{said}. Mend it, or leave such rows out: --bad-rows skip.")

    def _write(self, parts: ScoreParts, held: Sequence[ScoredWindow], digest: bytes) -> bytes:
        """Write the windows as a part; returns the digest of the input so far."""
        for window in held:
            digest = chained(digest, window.digests)
        bad = [
            {"row": each.number + 1, "id": each.id, "reason": each.kind, "problem": _as_options(each.problem),
             "place": self._table.where(each.number)}
            for window in held for each in window.bad
        ]  # fmt: skip
        scored = [window.scored for window in held if window.scored.rows]
        data = self._format.part(self._layout, scored)
        counts = sum(len(each.rows) for each in scored), sum(window.cut for window in held)
        parts.add(held[0].first, held[-1].end, data, bad, *counts, _named(digest))
        return digest

    def _finish(self, parts: ScoreParts, totals: PartTotals) -> None:
        """Put the final files together and remove the parts."""
        if not totals.scored:
            first = next(parts.bad_rows(), {"problem": "it holds no rows"})["problem"]
            parts.discard()
            raise DataError(f"No row of {self._config.path} could be scored: {first}.")
        name = "data frame" if self._config.frame is not None else self._config.path.name
        sums = {"rows": totals.rows, "scored": totals.scored, "bad": totals.bad, "cut": totals.cut}
        record = json.dumps({**self._request(), "input": {"name": name, "digest": totals.digest, **sums}})
        self._write_bad(parts, totals)
        self._format.assemble(self._layout, parts.files, parts.temporary, self._out, record)
        parts.discard()

    def _write_bad(self, parts: ScoreParts, totals: PartTotals) -> None:
        path = self._out.with_name(f"{self._out.name}.bad.csv")
        if not totals.bad:
            path.unlink(missing_ok=True)
            return
        with parts.temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["row", "id", "reason", "problem", "place"], lineterminator="\n")
            writer.writeheader()
            writer.writerows(parts.bad_rows())
        parts.temporary.replace(path)


def _config(inputs: Any, options: InputOptions, modality: str) -> InputConfig:
    """Where the inputs are, by the options of `score`. Raises ConfigError."""
    given = {**options}
    columns = {kind: given.pop(kind, None) for kind in ("text", "image")}
    other = "image" if modality == "text" else "text"
    if columns[other]:
        raise ConfigError(f"The model takes {modality}s: name their column with --{modality}, not --{other}.")
    groups, root = tuple(options.get("group", ())), options.get("root")
    given.pop("group", None)
    if len(set(groups)) != len(groups):
        raise ConfigError(f"--group names {list(groups)}: name every column once.")
    framed = not isinstance(inputs, str | os.PathLike)
    place = {"path": Path("the data frame") if framed else Path(inputs), "frame": inputs if framed else None}
    fields = {**given, **place, "groups": groups, "root": Path(root) if root else None}
    return InputConfig(input=columns[modality], **fields)  # type: ignore[arg-type]


def _devices(wanted: str) -> list[str]:
    """The devices of a word, each of which computes. Raises ConfigError."""
    import torch

    count = torch.cuda.device_count()
    if wanted == "all":
        if not count:
            raise ConfigError("--device is all, but torch sees no GPU here: name devices, such as cpu.")
        return [f"cuda:{number}" for number in range(count)]
    named = [each.strip() for each in wanted.split(",")]
    for name in named:
        if not (name == "cpu" or ((match := re.fullmatch(r"cuda(?::([0-9]+))?", name)) and int(match[1] or 0) < count)):
            raise ConfigError(
                f"--device names {name!r}, and torch sees cpu and {count} GPUs: say cpu, cuda, cuda:1 or all."
            )
    return named


@contextmanager
def option_words() -> Iterator[None]:
    """Let errors of reading name options of the command in the place of keys of a run's configuration."""
    try:
        yield
    except (DataError, ConfigError) as error:
        raise type(error)(_as_options(str(error))) from error


def _as_options(text: str) -> str:
    known = {"path": "INPUT", "input": "--text or --image", "label_map": "--label-map"}
    return re.sub(
        r"\bdata\.([a-z_]+)( = )?",
        lambda key: known.get(key[1], f"--{key[1].replace('_', '-')}") + (" " if key[2] else ""),
        text,
    )


def _named(digest: bytes) -> str:
    return f"sha256:{digest.hex()}" if digest else "sha256:"
