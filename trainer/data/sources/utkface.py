"""UTKFace: a folder or plain tar file of images, with labels in the names: `[age]_[gender]_[race]_[time].jpg...`.

Gender is 0 male, 1 female; race is 0 White, 1 Black, 2 Asian, 3 Indian, 4 Others. There is no partition. A few of the
public files lack a number in their name: they are skipped and counted; many of them mean that this is another data set.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from trainer.config import DataConfig
from trainer.config.run_config import Modality
from trainer.config.value_config import column_map
from trainer.data.sources.base import SourceRow
from trainer.data.sources.column_lookup import require_known
from trainer.data.sources.file_stamps import FileStamp
from trainer.data.sources.input_files import common_folder, open_files
from trainer.data.values.group_names import crossed_names, label_names
from trainer.data.values.number_bins import bin_index, bin_names
from trainer.data.values.value_names import ENTRY_REMEDY, REST, ValueNames
from triggers.errors import ConfigError, DataError

FILE_NAME = re.compile(r"(?P<age>\d{1,3})_(?P<gender>[01])_(?P<race>[0-4])_\d+ ?\.jpe?g(\.chip\.jpg)?", re.IGNORECASE)
GENDERS, RACES = ("male", "female"), ("White", "Black", "Asian", "Indian", "Others")

MOST_SKIPPED = 0.01
"""Share of image files with names of another form above which the data is refused."""


class UTKFace:
    """Label and group out of gender, race and age, the last one in classes (`data.age_bins`); several are crossed."""

    modality: Modality = "image"

    def __init__(self, data: DataConfig) -> None:
        if data.groups_overlap:
            raise ConfigError("UTKFace's groups exclude each other; remove data.groups_overlap.")
        self._files = open_files(data.path, "UTKFace")
        names, self.notes = _usable([name for name in self._files.names() if _is_image(name)], data)
        self._inside = common_folder(names)  # so that ids are the same in a folder and in a tar file of it
        values = {"gender": GENDERS, "race": RACES, "age": bin_names(data.age_bins)}
        labels, groups = (
            {name: _named(f"{key}.{name}", values[_checked(name, data)], column_map(table, name)) for name in chosen}
            for key, table, chosen in (
                ("data.label_map", data.label_map, data.label),
                ("data.group_map", data.group_map, data.group),
            )
        )
        self.label_names = label_names([order for _, order in labels.values()])
        self.group_names = crossed_names([order for _, order in groups.values()])
        each_label, each_group = ({name: found for name, (found, _) in chosen.items()} for chosen in (labels, groups))
        self.rows: Sequence[SourceRow] = [
            _row(name, self._inside, each_label, each_group, data.age_bins) for name in names
        ]

    def read(self, row: int) -> bytes:
        """The JPEG file of a row."""
        return self._files.read(self._inside + self.rows[row].id)

    def stamp(self, row: int) -> FileStamp | None:
        """Stamp of the image file, or of its place in the tar file."""
        return self._files.stamp(self._inside + self.rows[row].id)


def _row(
    name: str,
    inside: str,
    label_values: Mapping[str, Sequence[str]],
    group_values: Mapping[str, Sequence[str]],
    bins: Sequence[int],
) -> SourceRow:
    found = FILE_NAME.fullmatch(_file_name(name))
    assert found
    index = {"age": bin_index(int(found["age"]), bins), "gender": int(found["gender"]), "race": int(found["race"])}
    label, group = (
        " & ".join(names[index[one]] for one, names in values.items()) for values in (label_values, group_values)
    )
    return SourceRow(name.removeprefix(inside), label, group, "")


def _usable(names: list[str], data: DataConfig) -> tuple[list[str], tuple[str, ...]]:
    """The files with complete names, and a note about the others. Raises DataError."""
    usable = [name for name in names if FILE_NAME.fullmatch(_file_name(name))]
    if not names:
        raise DataError(f"{data.path} holds no .jpg files. Set data.path to a copy of UTKFace.")
    others = sorted(set(names) - set(usable))
    if not others:
        return usable, ()
    count = f"{len(others)} of {len(names)} image files are not named [age]_[gender]_[race]_[time].jpg"
    if len(others) > MOST_SKIPPED * len(names):
        raise DataError(
            f"{data.path}: {count}, for example {others[0]!r}. Set data.path to a copy of UTKFace, or mend the names."
        )
    return usable, (f"data: {count}, for example {others[0]!r}, and were left out",)


def _named(key: str, values: Sequence[str], table: Mapping[str, str]) -> tuple[Sequence[str], Sequence[str]]:
    """The name of each of an attribute's values, and all names in order. Raises ConfigError."""
    if not table:
        return values, values
    if unknown := [value for value in table if value not in (*values, REST)]:
        raise ConfigError(f"{key} names {unknown[0]!r}; the values are {list(values)}.")
    mapped = ValueNames(key, table)
    names = [mapped.name(value) for value in values]
    if None in names:
        raise ConfigError(f"{key} has no entry for {values[names.index(None)]!r}. {ENTRY_REMEDY}.")
    return [name for name in names if name], mapped.names


def _checked(name: str, data: DataConfig) -> str:
    if (
        require_known(name, ("gender", "race", "age"), f"UTKFace has no attribute {name!r}") == "age"
        and not data.age_bins
    ):
        raise ConfigError("UTKFace's age is a number; say where its classes begin, as in data.age_bins = [35].")
    return name


def _is_image(name: str) -> bool:
    return name.lower().endswith((".jpg", ".jpeg")) and not _file_name(name).startswith(".")


def _file_name(name: str) -> str:
    return name.rpartition("/")[2]
