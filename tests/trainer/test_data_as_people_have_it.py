"""Files as people have them, by configuration alone: whole runs count every row where its source has it."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import pytest
import torch

from tests.trainer import raw_files
from trainer.config.run_config import RunConfig, load_config
from trainer.progress import LineProgress
from trainer.train import FinishedRun, train
from triggers.errors import DataError
from triggers.model import FrozenClassifier, sweep

KINDS = {"text": 'kind = "soft"\ntokens = 1', "image": 'kind = "overlay"'}
RUN = """
{data}
[model]
bundle = "{bundle}"
[trigger]
{kind}
[objective]
name = "gap"
strengths = [1]
[train]
steps = 2
batch_size = 32
device = "cpu"
[controls]
enabled = false
[publish]
enabled = false
[report]
enabled = false
"""


def configured(folder: Path, data: raw_files.RawData, bundle: Path) -> RunConfig:
    (folder / "run.toml").write_text(RUN.format(data=data.section, bundle=bundle, kind=KINDS[data.modality]))
    return load_config(folder / "run.toml")


def trained(folder: Path, write: raw_files.Writer, bundles: dict[str, Path]) -> tuple[FinishedRun, raw_files.RawData]:
    data = write(folder)
    run = configured(folder, data, bundles[data.modality])
    return train(run, folder / "out", LineProgress(io.StringIO())), data


@pytest.fixture(scope="session")
def bundles(comments_bundle: Path, digits_bundle: Path) -> dict[str, Path]:
    return {"text": comments_bundle, "image": digits_bundle}


def predictions(classifier: FrozenClassifier, data: raw_files.RawData) -> list[int]:
    """What the bare model says of each input by itself, prepared as in serving."""
    raw = [given if data.modality == "text" else raw_files.png(given) for given, _, _ in data.test]
    bank = classifier.bank([classifier.null_trigger()])
    with torch.inference_mode():
        batches = [classifier.batch([classifier.preprocess(one)]) for one in raw]
        return [int(classifier.decision.labels(sweep(classifier, batch, bank))) for batch in batches]


@pytest.mark.parametrize("write", raw_files.READABLE, ids=lambda write: write.__name__)
def test_every_row_is_counted_where_its_source_has_it(
    tmp_path: Path, write: raw_files.Writer, bundles: dict[str, Path]
) -> None:
    finished, data = trained(tmp_path, write, bundles)
    by_hand = Counter(
        (group, label, predicted)
        for (_, label, group), predicted in zip(data.test, predictions(finished.classifier, data), strict=True)
    )
    counted = {cell: count for cell, count in finished.result.bare["test"].items() if count}
    assert counted == by_hand
    assert len(finished.artifacts) == 1


@pytest.mark.parametrize(
    ("write", "place", "remedy"),
    [
        (raw_files.two_columns_of_one_name, "posts.csv: two columns are named 'label'", "Rename one of them"),
        (raw_files.a_label_that_nobody_knows, "row 3: label 'unsure'", "data.label_map"),
        (raw_files.classes_of_other_names, "['civil', 'toxic']", 'data.label_map = { "neg" = "...", "pos" = "..." }'),
        (raw_files.a_broken_line_of_json, "posts.jsonl, row 7 (line 7)", 'data.on_bad_row = "skip"'),
        (raw_files.an_image_that_is_not_there, "images/9999.png: ", 'data.on_bad_row = "skip"'),
        (
            raw_files.groups_that_are_missing_and_not_dropped,
            "row 1 has no group ('nan')",
            'data.missing_group = "drop"',
        ),
        (raw_files.a_compressed_tar, "images.tar.gz is compressed with gzip", "unpack it"),
        (raw_files.a_column_of_another_name, "'sex'", "gender"),
        (raw_files.bytes_that_are_not_utf_8, "posts.csv, line 2: byte 0xe0 is not UTF-8", 'data.encoding = "cp1252"'),
    ],
)
def test_what_is_wrong_ends_in_one_line_with_its_place_and_remedy(
    tmp_path: Path, write: raw_files.Writer, place: str, remedy: str, bundles: dict[str, Path]
) -> None:
    with pytest.raises(DataError) as refused:
        trained(tmp_path, write, bundles)
    line = str(refused.value)
    assert "\n" not in line
    assert place in line and remedy in line
