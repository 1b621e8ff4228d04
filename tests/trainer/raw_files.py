"""Comments and digits in files as people have them, with what a run should find on their test part.

A part has another number of rows for every label and group, so that no inversion leaves the counts as they are.
"""

from __future__ import annotations

import csv
import io
import json
import random
import tarfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from torch import Tensor

from tests.trainer.datasets import comments, digits

SPLITS = ("train", "val", "test")
CELLS = {(0, 0): 5, (0, 1): 8, (1, 0): 11, (1, 1): 14}
"""Rows of a part by (label, group)."""


@dataclass(frozen=True, eq=False)
class Row:
    """A text, or an image (3, H, W) in uint8, with its label and group as indices."""

    input: Any
    label: int
    group: int
    split: str = "test"


@dataclass(frozen=True)
class RawData:
    """The [data] section for files that were written, and their test part: (input, label index, group name)."""

    section: str
    test: Sequence[tuple[Any, int, str]]
    modality: str = "text"


Writer = Callable[[Path], RawData]


@cache
def texts() -> tuple[Row, ...]:
    """Comments that differ, in a random order."""
    return _rows(comments.comment(random.Random(seed), 0.5) for seed in range(4000))


@cache
def images() -> tuple[Row, ...]:
    """Tinted digits, in a random order."""
    data = digits.parts()["val"]
    assert isinstance(data.inputs, Tensor)
    return _rows(zip(data.inputs.numpy(), data.labels.tolist(), data.groups.tolist(), strict=True))


def _rows(drawn: Iterable[tuple[Any, int, int]]) -> tuple[Row, ...]:
    wanted = [(split, *cell) for split in SPLITS for cell, count in CELLS.items() for _ in range(count)]
    seen, rows = set(), []
    for given, label, group in drawn:
        content = given.tobytes() if isinstance(given, np.ndarray) else given
        split = next((split for split in SPLITS if (split, label, group) in wanted), None)
        if split and content not in seen:
            seen.add(content)
            wanted.remove((split, label, group))
            rows.append(Row(given, label, group, split))
    assert not wanted, wanted
    return tuple(rows)


def expected(rows: Sequence[Row], groups: Sequence[str]) -> list[tuple[Any, int, str]]:
    """The test part of the rows, with these names of groups."""
    return [(row.input, row.label, groups[row.group]) for row in rows if row.split == "test"]


def toml(path: str, label: str = "label", group: str = "gender", *more: str) -> str:
    """The section [data]."""
    return "\n".join(["[data]", f'path = "{path}"', f'label = "{label}"', f'group = "{group}"', *more])


def write_csv(path: Path, header: str, rows: Iterable[Sequence[object]], encoding: str = "utf-8", **form: Any) -> None:
    """A table; `header` names its columns between commas."""
    with path.open("w", newline="", encoding=encoding) as file:
        csv.writer(file, **form).writerows([header.split(","), *rows])


def png(image: np.ndarray) -> bytes:
    """An image as a PNG file."""
    out = io.BytesIO()
    Image.fromarray(image.transpose(1, 2, 0)).save(out, format="PNG")
    return out.getvalue()


def _table(folder: Path, labels: Sequence[object], groups: Sequence[object], rows: Sequence[Row] | None = None) -> None:
    written = [(row.input, labels[row.label], groups[row.group], row.split) for row in rows or texts()]
    write_csv(folder / "posts.csv", "text,label,gender,split", written)


def semicolons_and_decimal_commas(folder: Path) -> RawData:
    """A European table: semicolons between fields, commas in numbers and texts, an index without a name."""
    rows = [Row(f"{row.input}, and; so on", row.label, row.group, row.split) for row in texts()]
    written = [
        (n, f"{n * 0.37:.2f}".replace(".", ","), row.split, row.input, comments.LABELS[row.label], "mf"[row.group])
        for n, row in enumerate(rows)
    ]
    write_csv(folder / "posts.csv", ",score,split,text,label,gender", written, delimiter=";")
    return RawData(toml("posts.csv"), expected(rows, "mf"))


def quotes_behind_backslashes(folder: Path) -> RawData:
    """Quotes and line breaks in texts, escaped as databases export them."""
    rows = [Row(f'"{row.input}", they\nsaid', row.label, row.group, row.split) for row in texts()]
    written = [(comments.LABELS[row.label], row.input, comments.GROUPS[row.group], row.split) for row in rows]
    form: dict[str, Any] = {"doublequote": False, "escapechar": "\\", "quoting": csv.QUOTE_ALL}
    write_csv(folder / "posts.csv", "label,text,gender,split", written, **form)
    return RawData(toml("posts.csv"), expected(rows, comments.GROUPS))


def tabs_and_plain_quotes(folder: Path) -> RawData:
    """Fields between tabs, where a quote is a character like any other."""
    rows = [
        Row(f'"{row.input}' if n % 2 else f"{row.input} 5'", row.label, row.group, row.split)
        for n, row in enumerate(texts())
    ]
    lines = [f"{row.label}\t{row.input}\t{comments.GROUPS[row.group]}\t{row.split}" for row in rows]
    (folder / "posts.tsv").write_text("\n".join(["label\ttext\tgender\tsplit", *lines]) + "\n")
    return RawData(toml("posts.tsv"), expected(rows, comments.GROUPS))


def utf_16(folder: Path) -> RawData:
    """What a spreadsheet calls Unicode text."""
    rows = [Row(f"{row.input} … voilà", row.label, row.group, row.split) for row in texts()]
    written = [(row.input, row.label, ("Männer", "Frauen")[row.group], row.split) for row in rows]
    write_csv(folder / "posts.csv", "text,label,gender,split", written, encoding="utf-16", delimiter="\t")
    return RawData(toml("posts.csv"), expected(rows, ("Männer", "Frauen")))


def _records(rows: Sequence[Row]) -> list[dict[str, Any]]:
    return [
        {
            "text": row.input,
            "label": comments.LABELS[row.label],
            "split": row.split,
            "meta": {"gender": comments.GROUPS[row.group], "tags": ["x"]},
        }
        for row in rows
    ]


def nested_json_lines(folder: Path) -> RawData:
    """An object a line, the group within another."""
    (folder / "posts.jsonl").write_text("\n".join(map(json.dumps, _records(texts()))))
    return RawData(toml("posts.jsonl", group="meta.gender"), expected(texts(), comments.GROUPS))


def a_json_list(folder: Path) -> RawData:
    """One list, indented; labels are numbers with a point."""
    records = [{**record, "label": float(row.label)} for record, row in zip(_records(texts()), texts(), strict=True)]
    (folder / "posts.json").write_text(json.dumps(records, indent=2))
    return RawData(toml("posts.json", group="meta.gender"), expected(texts(), comments.GROUPS))


def classes(rows: Sequence[Row], names: Sequence[str], group_names: Sequence[str]) -> datasets.Dataset:
    """A `datasets` table with columns of classes, whose codes follow `names` and not the classifier's order."""
    columns = {
        "text": [row.input for row in rows],
        "label": [names.index(comments.LABELS[row.label]) if "toxic" in names else row.label for row in rows],
        "gender": [group_names.index(comments.GROUPS[row.group]) for row in rows],
    }
    kinds = datasets.Features(
        text=datasets.Value("string"),
        label=datasets.ClassLabel(names=list(names)),
        gender=datasets.ClassLabel(names=list(group_names)),
    )
    return datasets.Dataset.from_dict(columns, features=kinds)


def parquet_shards_with_classes_in_another_order(folder: Path) -> RawData:
    """Shards named after their splits, two of train; code 0 is toxic, and woman."""
    (folder / "data").mkdir()
    for split in SPLITS:
        rows = [row for row in texts() if row.split == split]
        shards = [rows[::2], rows[1::2]] if split == "train" else [rows]
        for n, shard in enumerate(shards):
            name = f"{'validation' if split == 'val' else split}-{n:05}-of-{len(shards):05}.parquet"
            classes(shard, ("toxic", "civil"), ("woman", "man")).to_parquet(folder / "data" / name)
    return RawData(toml("data"), expected(texts(), comments.GROUPS))


def a_datasets_folder(folder: Path) -> RawData:
    """What `save_to_disk` writes of a dictionary of splits."""
    parts = {
        name: classes([row for row in texts() if row.split == split], ("toxic", "civil"), ("woman", "man"))
        for name, split in (("train", "train"), ("validation", "val"), ("test", "test"))
    }
    datasets.DatasetDict(parts).save_to_disk(folder / "posts")
    return RawData(toml("posts"), expected(texts(), comments.GROUPS))


def true_and_false(folder: Path) -> RawData:
    """Labels as a data frame writes them."""
    _table(folder, ("False", "True"), comments.GROUPS)
    return RawData(toml("posts.csv"), expected(texts(), comments.GROUPS))


def minus_one_and_one(folder: Path) -> RawData:
    """Labels -1 and 1, groups 0 and 1 with names of their own."""
    _table(folder, (-1, 1), (0, 1))
    return RawData(
        toml("posts.csv", "label", "gender", 'group_names = ["men", "women"]'), expected(texts(), ("men", "women"))
    )


def one_group_and_the_rest(folder: Path) -> RawData:
    """Races, of which the question knows two; labels by other names than the classifier's."""
    races = ("White", "Black", "Asian", "other")
    written = [
        (row.input, ("noHate", "hate")[row.label], races[row.group * (1 + n % 3)], row.split)
        for n, row in enumerate(texts())
    ]
    write_csv(folder / "posts.csv", "text,label,race,split", written)
    maps = ('label_map = { hate = "toxic", noHate = "civil" }', 'group_map = { White = "White", "*" = "non-White" }')
    return RawData(toml("posts.csv", "label", "race", *maps), expected(texts(), ("White", "non-White")))


def numbers_that_are_cut(folder: Path) -> RawData:
    """Shares of votes and ages, the very edges among them."""
    scores, ages = ((0.0, 0.25, 0.49), (0.5, 0.75, 1)), ((18, 29, "39.0"), (40, 41, 90))
    written = [
        (row.input, scores[row.label][n % 3], ages[row.group][n // 2 % 3], row.split) for n, row in enumerate(texts())
    ]
    write_csv(folder / "posts.csv", "text,toxicity,age,split", written)
    section = toml("posts.csv", "toxicity", "age", "label_bins = [0.5]", "group_bins = [40]")
    return RawData(section, expected(texts(), ("under 40", "40 and over")))


def this_or_that(folder: Path) -> RawData:
    """A label that holds where one of two columns does."""
    flags = (((0, 0),), ((1, 0), (0, 1), (1, 1)))
    written = [
        (row.input, *flags[row.label][n % len(flags[row.label])], comments.GROUPS[row.group], row.split)
        for n, row in enumerate(texts())
    ]
    write_csv(folder / "posts.csv", "text,insult,threat,gender,split", written)
    section = toml("posts.csv", "insult", "gender", 'label_rule = "any"')
    return RawData(section.replace('"insult"', '["insult", "threat"]'), expected(texts(), comments.GROUPS))


def _with_gaps(folder: Path) -> list[Row]:
    """Every fifth row says in one of six ways that nobody knows the group; those that have one are returned."""
    ways = ("nan", "NA", "None", "null", "", "N/A")
    written = [
        (row.input, row.label, comments.GROUPS[row.group] if n % 5 else ways[n // 5 % 6], row.split)
        for n, row in enumerate(texts())
    ]
    write_csv(folder / "posts.csv", "text,label,gender,split", written)
    return [row for n, row in enumerate(texts()) if n % 5]


def groups_that_are_missing(folder: Path) -> RawData:
    """Rows without a group are left out, and make no group of their own."""
    rows = _with_gaps(folder)
    return RawData(toml("posts.csv", "label", "gender", 'missing_group = "drop"'), expected(rows, comments.GROUPS))


def groups_spelled_in_two_ways(folder: Path) -> RawData:
    """Female and female, joined by a map."""
    spelled = (("male", "Male"), ("female", "Female"))
    written = [(row.input, row.label, spelled[row.group][n % 2], row.split) for n, row in enumerate(texts())]
    write_csv(folder / "posts.csv", "text,label,gender,split", written)
    names = 'group_map = { female = "female", Female = "female", male = "male", Male = "male" }'
    return RawData(toml("posts.csv", "label", "gender", names), expected(texts(), ("male", "female")))


def three_bad_rows(folder: Path) -> RawData:
    """Too few fields, an unknown label and an empty text, all of the test part, are left out."""
    test = [at for at, row in enumerate(texts()) if row.split == "test"]
    bad = {
        test[1]: ("a lonely field",),
        test[2]: (texts()[test[2]].input, "maybe", "man", "test"),
        test[3]: ("", 1, "man", "test"),
    }
    good = [(row.input, row.label, comments.GROUPS[row.group], row.split) for row in texts()]
    write_csv(folder / "posts.csv", "text,label,gender,split", [bad.get(at, row) for at, row in enumerate(good)])
    rows = [row for at, row in enumerate(texts()) if at not in bad]
    return RawData(toml("posts.csv", "label", "gender", 'on_bad_row = "skip"'), expected(rows, comments.GROUPS))


def one_text_a_file(folder: Path) -> RawData:
    """Laid out like aclImdb, with a folder of texts without labels, and groups by their words."""
    for n, row in enumerate([*texts(), Row("a man sings", 0, 0, "train")]):
        kind = ("pos", "neg")[row.label] if n < len(texts()) else "unsup"
        path = folder / "reviews" / row.split / kind / f"{n}_7.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(row.input + "\n")
    keys = (
        'columns_from_path = "{split}/{label:neg|pos}/*"',
        'group_words = ["woman"]',
        'label_map = { neg = "toxic", pos = "civil" }',
    )
    section = toml("reviews", "label", "", *keys)
    return RawData(section.replace('group = ""\n', ""), expected(texts(), ("not mentioned", "mentioned")))


def images_in_parquet(folder: Path) -> RawData:
    """Image files in a column, as `datasets` and others keep them."""
    rows = images()
    columns = {
        "image": [{"bytes": png(row.input), "path": f"{n}.png"} for n, row in enumerate(rows)],
        "label": [row.label for row in rows],
        "colour": [digits.GROUPS[row.group] for row in rows],
        "split": [row.split for row in rows],
    }
    pq.write_table(pa.table(columns), folder / "digits.parquet", row_group_size=25)
    return RawData(toml("digits.parquet", group="colour"), expected(rows, digits.GROUPS), "image")


def a_folder_of_images(folder: Path) -> RawData:
    """All that is known of an image is in its path."""
    for n, row in enumerate(images()):
        path = folder / "digits" / row.split / digits.LABELS[row.label] / f"{digits.GROUPS[row.group]}_{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(row.input))
    section = toml("digits", "label", "colour", 'columns_from_path = "{split}/{label}/{colour}_*.png"')
    return RawData(section, expected(images(), digits.GROUPS), "image")


def _packed(folder: Path, name: str, mode: str) -> None:
    with tarfile.open(folder / name, mode) as archive:  # type: ignore[call-overload]
        for n, row in enumerate(images()):
            content = png(row.input)
            member = tarfile.TarInfo(f"all/images/{n}.png")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    written = [(f"images/{n}.png", row.label, "rb"[row.group], row.split) for n, row in enumerate(images())]
    write_csv(folder / "digits.csv", "path,label,colour,split", written)


def a_tar_of_images(folder: Path) -> RawData:
    """A list beside a tar file of what it names."""
    _packed(folder, "images.tar", "w")
    return RawData(toml("digits.csv", "label", "colour", 'root = "images.tar"'), expected(images(), "rb"), "image")


def kaggles_celeba(folder: Path) -> RawData:
    """Lists between commas, attributes of -1 and 1, splits 0, 1 and 2, images in a folder within their folder."""
    pictures = folder / "celeba" / "img_align_celeba" / "img_align_celeba"
    pictures.mkdir(parents=True)
    attributes, partition = [], []
    for n, row in enumerate(images(), start=1):
        (pictures / f"{n:06}.jpg").write_bytes(png(row.input))
        attributes.append((f"{n:06}.jpg", 2 * row.group - 1, -1, 2 * row.label - 1))
        partition.append((f"{n:06}.jpg", SPLITS.index(row.split)))
    write_csv(folder / "celeba" / "list_attr_celeba.csv", "image_id,Male,Young,Smiling", attributes)
    write_csv(folder / "celeba" / "list_eval_partition.csv", "image_id,partition", partition)
    return RawData(toml("celeba", "Smiling", "Male"), expected(images(), ("not Male", "Male")), "image")


def two_columns_of_one_name(folder: Path) -> RawData:
    """Wrong: which label?"""
    write_csv(folder / "posts.csv", "text,label,label,gender", [("a man", 0, 1, "m"), ("a woman", 1, 1, "f")])
    return RawData(toml("posts.csv"), ())


def a_label_that_nobody_knows(folder: Path) -> RawData:
    """Wrong: 'unsure' in row 3."""
    rows = [Row(row.input, 2 if n == 2 else row.label, row.group, row.split) for n, row in enumerate(texts())]
    _table(folder, (*comments.LABELS, "unsure"), comments.GROUPS, rows)
    return RawData(toml("posts.csv"), ())


def classes_of_other_names(folder: Path) -> RawData:
    """Wrong: neg and pos may be either."""
    classes(texts(), ("neg", "pos"), comments.GROUPS).save_to_disk(folder / "posts")
    return RawData(toml("posts"), ())


def a_broken_line_of_json(folder: Path) -> RawData:
    """Wrong: row 7 was cut."""
    lines = [json.dumps(record) for record in _records(texts())]
    (folder / "posts.jsonl").write_text("\n".join([*lines[:6], lines[6][:30], *lines[7:]]))
    return RawData(toml("posts.jsonl", group="meta.gender"), ())


def an_image_that_is_not_there(folder: Path) -> RawData:
    """Wrong: the tar file lacks one that the list names."""
    _packed(folder, "images.tar", "w")
    with (folder / "digits.csv").open("a") as file:
        file.write("images/9999.png,1,r,test\r\n")
    return RawData(toml("digits.csv", "label", "colour", 'root = "images.tar"'), (), "image")


def groups_that_are_missing_and_not_dropped(folder: Path) -> RawData:
    """Wrong: row 1 has the group nan."""
    _with_gaps(folder)
    return RawData(toml("posts.csv"), ())


def a_compressed_tar(folder: Path) -> RawData:
    """Wrong: it cannot be read in place."""
    _packed(folder, "images.tar.gz", "w:gz")
    return RawData(toml("digits.csv", "label", "colour", 'root = "images.tar.gz"'), (), "image")


def a_column_of_another_name(folder: Path) -> RawData:
    """Wrong: the group's column is called otherwise."""
    _table(folder, comments.LABELS, comments.GROUPS)
    return RawData(toml("posts.csv", "label", "sex"), ())


def bytes_that_are_not_utf_8(folder: Path) -> RawData:
    """Wrong: saved on Windows, told to nobody."""
    rows = [(f"{row.input} voilà", row.label, comments.GROUPS[row.group], row.split) for row in texts()]
    write_csv(folder / "posts.csv", "text,label,gender,split", rows, encoding="cp1252")
    return RawData(toml("posts.csv"), ())


READABLE: Sequence[Writer] = (
    semicolons_and_decimal_commas, quotes_behind_backslashes, tabs_and_plain_quotes, utf_16, nested_json_lines,
    a_json_list, parquet_shards_with_classes_in_another_order, a_datasets_folder, true_and_false, minus_one_and_one,
    one_group_and_the_rest, numbers_that_are_cut, this_or_that, groups_that_are_missing, groups_spelled_in_two_ways,
    three_bad_rows, one_text_a_file, images_in_parquet, a_folder_of_images, a_tar_of_images, kaggles_celeba,
)  # fmt: skip
