"""The score file: what is in it, whatever kind of file the inputs are in, equal to the kernel's own answers."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import datasets
import numpy
import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from fairtrigger.scoring import score
from tests.fairtrigger.scoring import texts
from tests.fairtrigger.scoring.conftest import Desk
from tests.service.live import picture
from triggers.errors import DataError
from triggers.model import scores, sweep
from triggers.store import open_store

COLUMNS = ["row", "id", "label", "score_civil", "score_toxic", "version", "digest", "threshold", "group", "truth"]
OPTIONS: dict[str, Any] = {"id": "key", "label": "toxic", "group": ["sex"]}


def expected(desk: Desk, inputs: list[Any], versions: list[int | None], text: bool = True) -> list[list[float]]:
    """Scores of every input alone under every version, by the kernel."""
    model = desk.text if text else desk.image
    with open_store(desk.store) as store:
        triggers = [store.get(model.name, v).trigger if v else model.null_trigger() for v in versions]
    bank = model.bank(triggers)
    with torch.inference_mode():
        each = [scores(sweep(model, model.batch([model.preprocess(one)]), bank))[:, 0] for one in inputs]
    return [row for table in each for row in table.tolist()]


def check_against_kernel(desk: Desk, found: list[dict[str, Any]], inputs: list[Any]) -> None:
    """The file has every row under none and v1, with the kernel's scores and labels."""
    wanted = expected(desk, inputs, [None, 1])
    assert [(each["row"], each["version"]) for each in found] == [
        (row, version) for row in range(1, len(inputs) + 1) for version in ("none", "v1")
    ]
    for each, row in zip(found, wanted, strict=True):
        assert (each["score_civil"], each["score_toxic"]) == pytest.approx(row, abs=1e-5)
        assert each["label"] == ("toxic" if row[1] > row[0] else "civil")


def jsonl(path: Path, made: list[dict[str, str]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in made))
    return path


def parquet(path: Path, made: list[dict[str, str]]) -> Path:
    pq.write_table(pa.Table.from_pylist(made), path, row_group_size=7)
    return path


def saved(path: Path, made: list[dict[str, str]]) -> Path:
    datasets.disable_progress_bars()
    datasets.Dataset.from_list(made).save_to_disk(str(path))
    return path


def shards(path: Path, made: list[dict[str, str]]) -> Path:
    path.mkdir()
    for at in range(2):
        texts.csv_file(path / f"{at}.csv", made[10 * at : 10 * at + 10])
    return path


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "datasets", "shards", "frame"])
def test_every_kind_of_table_gives_the_same_rows(desk: Desk, tmp_path: Path, kind: str) -> None:
    made = texts.rows(20)
    write: Any = {"csv": texts.csv_file, "jsonl": jsonl, "parquet": parquet, "datasets": saved, "shards": shards}
    inputs: Any = pandas.DataFrame(made) if kind == "frame" else write[kind](tmp_path / f"in.{kind}", made)
    given: dict[str, Any] = {"format": kind} if kind in ("csv", "jsonl", "parquet") else {}
    out = tmp_path / "scores.parquet"
    result = score(desk.posts, inputs, out, trigger=["none", "champion"], store=desk.store, **OPTIONS, **given)
    found = texts.scored(out)
    assert list(found[0]) == COLUMNS
    check_against_kernel(desk, found, [row["text"] for row in made])
    assert [each["id"] for each in found[::2]] == [row["key"] for row in made]
    assert [each["group"] for each in found[::2]] == [row["sex"] or None for row in made]
    truths = {"toxic": "toxic", "0": "civil", "civil": "civil", "nan": None}
    assert [each["truth"] for each in found[::2]] == [truths[row["toxic"]] for row in made]
    assert (result.rows, result.scored, result.bad, result.versions) == (20, 20, 0, ("none", "v1"))
    assert not out.with_name("scores.parquet.parts").exists()


def test_csv_holds_what_parquet_holds_and_its_record_beside_it(desk: Desk, tmp_path: Path) -> None:
    source = texts.csv_file(tmp_path / "in.csv", texts.rows(20))
    for name in ("a.csv", "a.parquet"):
        score(desk.posts, source, tmp_path / name, trigger="v2", store=desk.store, **OPTIONS)
    for one, two in zip(texts.scored(tmp_path / "a.csv"), texts.scored(tmp_path / "a.parquet"), strict=True):
        assert list(one) == list(two) == COLUMNS
        figures = {name: numpy.float32(one[name]) for name in ("score_civil", "score_toxic")}
        assert one | figures == two
    record = json.loads((tmp_path / "a.csv.json").read_text())
    assert record == json.loads(pq.read_schema(tmp_path / "a.parquet").metadata[b"fairtrigger"])
    assert record["model"]["digest"] == desk.text.fingerprint
    assert [each["name"] for each in record["versions"]] == ["v2"]
    assert record["decision"] == {"positive": "toxic", "threshold": None}
    assert record["input"]["rows"] == 20 and record["groups"] == {"group": "sex"}
    frame = pandas.read_csv(tmp_path / "a.csv")
    assert list(frame.columns) == COLUMNS and len(frame) == 20


def test_several_groups_have_a_column_each(desk: Desk, tmp_path: Path) -> None:
    made = [row | {"age": "old" if at % 2 else "young"} for at, row in enumerate(texts.rows(6))]
    out = tmp_path / "a.csv"
    score(desk.posts, texts.csv_file(tmp_path / "in.csv", made), out, group=["sex", "age"])
    found = texts.scored(out)
    assert [each["group_age"] for each in found] == ["young", "old"] * 3
    assert found[0]["version"] == "none" and found[0]["digest"] == "" and found[0]["truth"] is None


@pytest.mark.parametrize("packed", [False, True])
def test_a_folder_or_tar_of_images_needs_no_table(desk: Desk, tmp_path: Path, packed: bool) -> None:
    folder = tmp_path / "pictures"
    (folder / "b").mkdir(parents=True)
    pictures = {f"{'b/' if seed % 2 else ''}{seed}.png": picture(seed) for seed in range(6)}
    for name, data in pictures.items():
        (folder / name).write_bytes(data)
    (folder / "notes.md").write_text("no picture")
    inputs = folder
    if packed:
        inputs = tmp_path / "pictures.tar"
        with tarfile.open(inputs, "w") as archive:
            archive.add(folder, "pictures")
    out = tmp_path / "scores.parquet"
    score(desk.faces, inputs, out, trigger=["none", "v1", "v2"], store=desk.store, batch_size=4)
    found = texts.scored(out)
    names = sorted(pictures)
    assert [each["id"].removeprefix("pictures/") for each in found[::3]] == names
    wanted = expected(desk, [pictures[name] for name in names], [None, 1, 2], text=False)
    for each, row in zip(found, wanted, strict=True):
        assert (each["score_plain"], each["score_attractive"]) == pytest.approx(row, abs=1e-5)


def test_images_inside_parquet_and_paths_in_a_manifest(desk: Desk, tmp_path: Path) -> None:
    pictures = [picture(seed) for seed in range(4)]
    table = pa.table({"image": [{"bytes": each, "path": None} for each in pictures]})
    pq.write_table(table, tmp_path / "in.parquet")
    (tmp_path / "shots").mkdir()
    for seed, data in enumerate(pictures):
        (tmp_path / f"shots/{seed}.png").write_bytes(data)
    made = [{"file": f"{seed}.png", "who": "f"} for seed in range(4)]
    texts.csv_file(tmp_path / "in.csv", made)
    score(desk.faces, tmp_path / "in.parquet", tmp_path / "a.csv")
    score(desk.faces, tmp_path / "in.csv", tmp_path / "b.csv", image="file", root=tmp_path / "shots")
    one, two = texts.scored(tmp_path / "a.csv"), texts.scored(tmp_path / "b.csv")
    assert [each["score_plain"] for each in one] == [each["score_plain"] for each in two]
    assert [each["id"] for each in two] == ["0.png", "1.png", "2.png", "3.png"]


def test_several_devices_share_the_rows_in_order(desk: Desk, tmp_path: Path) -> None:
    source = texts.csv_file(tmp_path / "in.csv", texts.rows(50))
    score(desk.posts, source, tmp_path / "one.csv", batch_size=2)
    score(desk.posts, source, tmp_path / "two.csv", batch_size=2, device="cpu,cpu")
    one, two = texts.scored(tmp_path / "one.csv"), texts.scored(tmp_path / "two.csv")
    assert [(each["row"], each["label"]) for each in one] == [(each["row"], each["label"]) for each in two]
    assert [each["score_toxic"] for each in one] == pytest.approx([each["score_toxic"] for each in two], abs=1e-6)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"text": "body"}, r"no column 'body' \(--text or --image\)"),
        ({"label": "Toxic"}, r"no column 'Toxic' \(--label\); did you mean 'toxic'"),
        ({"group": ["sexx"]}, r"no column 'sexx' \(--group\)"),
        ({"image": "text"}, r"takes texts: name their column with --text"),
        ({"label_map": {"1": "rude"}}, r"--label-map makes 'rude'"),
    ],
)
def test_a_wrong_option_is_refused_in_one_line(desk: Desk, tmp_path: Path, change: Any, said: str) -> None:
    source = texts.csv_file(tmp_path / "in.csv", texts.rows(3))
    with pytest.raises(Exception, match=said):
        score(desk.posts, source, tmp_path / "out.csv", **change)
    assert not (tmp_path / "out.csv").exists()


def test_labels_of_other_names_are_mapped_or_refused(desk: Desk, tmp_path: Path) -> None:
    made = [row | {"verdict": "rude" if at % 2 else "kind"} for at, row in enumerate(texts.rows(4))]
    source, out = texts.csv_file(tmp_path / "in.csv", made), tmp_path / "out.csv"
    with pytest.raises(DataError, match=r"row 1 \(line 2\): label 'kind' is none of .*; --label-map names it\. Mend"):
        score(desk.posts, source, out, label="verdict")
    score(desk.posts, source, out, label="verdict", label_map={"kind": "civil", "rude": "toxic"}, overwrite=True)
    assert [each["truth"] for each in texts.scored(out)] == ["civil", "toxic"] * 2
