"""CelebA's own layout, in a folder or in a tar file of it that is read without unpacking.

img_align_celeba/000001.jpg ...
list_attr_celeba.txt         count, 40 attribute names, then one row of -1/1 per image
list_eval_partition.txt      "000001.jpg 0": 0 train, 1 val, 2 test

Kaggle's copy is read as well: both lists are CSV files with a header, and the images lie one folder deeper.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trainer.config import DataConfig
from trainer.config.run_config import Modality
from trainer.data.sources.base import SourceRow
from trainer.data.sources.column_lookup import require_known
from trainer.data.sources.file_stamps import FileStamp
from trainer.data.sources.input_files import FolderFiles, InputFiles, open_files
from trainer.data.values.group_names import flag_group, flag_groups, flag_index, flag_names
from triggers.errors import DataError

IMAGES, ATTRIBUTES, PARTITION = "img_align_celeba", "list_attr_celeba", "list_eval_partition"
POOL_CODES = {"0": "train", "1": "val", "2": "test"}


class CelebA:
    """Labels and groups are named "not Male" and "Male" after their attribute.

    Several label attributes are one label of 2**n classes, index sum of 2**i over the attributes i that hold, named
    after those ("none", "Blond_Hair", "Smiling", "Blond_Hair & Smiling"). Several group attributes are crossed, or, if
    they overlap, joined ("Male + Young").
    """

    modality: Modality = "image"
    notes: Sequence[str] = ()

    def __init__(self, data: DataConfig) -> None:
        self._files = open_files(data.path, "CelebA")
        self._inside, ending = _layout(self._files)
        names, table = _attributes(*self._lines(ATTRIBUTES + ending))
        labels, groups = ([_column(names, name) for name in chosen] for chosen in (data.label, data.group))
        pools = _partition(*self._lines(PARTITION + ending))
        self.label_names = flag_names(data.label, data.label_rule)
        self.group_names = flag_groups(data.group, overlapping=data.groups_overlap)
        self.rows: Sequence[SourceRow] = [
            SourceRow(
                image,
                self.label_names[flag_index(_held(values, labels), data.label_rule)],
                flag_group(data.group, _held(values, groups), overlapping=data.groups_overlap),
                pools[image],
            )
            for image, values in table.items()
            if image in pools
        ]
        if len(self.rows) != len(table):
            missing = next(image for image in table if image not in pools)
            raise DataError(f"{PARTITION} has no row for {missing}, which is in {ATTRIBUTES}; the files do not match.")
        deeper = f"{self._inside}{IMAGES}/{IMAGES}/"
        self._images = deeper if self._files.holds(deeper + self.rows[0].id) else f"{self._inside}{IMAGES}/"

    def read(self, row: int) -> bytes:
        """The JPEG file of a row."""
        return self._files.read(self._name(row))

    def stamp(self, row: int) -> FileStamp | None:
        """Stamp of the image file, or of its place in the tar file."""
        return self._files.stamp(self._name(row))

    def _name(self, row: int) -> str:
        return self._images + self.rows[row].id

    def _lines(self, name: str) -> tuple[str, list[str]]:
        """A list's name and its lines, with blanks for commas."""
        return name, self._files.read(self._inside + name).decode("utf-8").replace(",", " ").splitlines()


def _layout(files: InputFiles) -> tuple[str, str]:
    """Path prefix of the layout: the leading folders of a tar file's members; empty for a folder. Its lists' ending."""
    endings = (".txt", ".csv")
    if isinstance(files, FolderFiles):
        return "", next((ending for ending in endings if files.holds(ATTRIBUTES + ending)), endings[0])
    lists = tuple(ATTRIBUTES + ending for ending in endings)
    found = next((name for name in files.names() if name.endswith(lists)), None)
    if found is None:
        raise DataError(f"{files.path} holds no {lists[0]}, so it is not laid out like CelebA.")
    return found[: -len(lists[0])], found[-len(endings[0]) :]


def _attributes(name: str, lines: Sequence[str]) -> tuple[Sequence[str], dict[str, str]]:
    """Attribute names, and per image its values as one character each: 1, or - for -1."""
    before = 1 if name.endswith(".csv") else 2
    if len(lines) <= before:
        raise DataError(f"{name} has {len(lines)} lines; it needs a count, the names and a row per image.")
    names, table = lines[before - 1].split()[2 - before :], {}
    for number, line in enumerate(lines[before:], start=before + 1):
        image, *values = line.split() or [""]
        if len(values) != len(names) or not set(values) <= {"-1", "1"}:
            raise DataError(f"{name}, line {number}: expected a file name and {len(names)} values of -1 or 1.")
        table[image] = "".join(value[0] for value in values)
    return names, table


def _held(values: str, columns: Sequence[int]) -> list[bool]:
    """Whether an image has each of the attributes."""
    return [values[column] == "1" for column in columns]


def _partition(name: str, lines: Sequence[str]) -> Mapping[str, str]:
    pools = {}
    before = int(name.endswith(".csv"))
    for number, line in enumerate(lines[before:], start=before + 1):
        match line.split():
            case [image, code] if code in POOL_CODES:
                pools[image] = POOL_CODES[code]
            case _:
                raise DataError(f"{name}, line {number}: expected a file name and 0, 1 or 2, not {line!r}.")
    return pools


def _column(names: Sequence[str], name: str) -> int:
    return names.index(require_known(name, names, f"CelebA has no attribute {name!r}"))
