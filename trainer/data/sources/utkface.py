"""UTKFace: a folder or plain tar file of images, with labels in the names: `[age]_[gender]_[race]_[time].jpg...`.

Gender is 0 male, 1 female; race is 0 White, 1 Black, 2 Asian, 3 Indian, 4 Others. There is no partition. A few of the
public files lack a number in their name: they are skipped and counted; many of them mean that this is another data set.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise

from trainer.config import DataConfig
from trainer.config.run_config import Modality
from trainer.data.group_names import crossed_names, label_names
from trainer.data.sources.base import SourceRow
from trainer.data.sources.column_lookup import require_known
from trainer.data.sources.file_stamps import FileStamp
from trainer.data.sources.input_files import common_folder, open_files
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
        # so that ids are the same in a folder and in a tar file of it
        self._inside = common_folder(names)
        values = {"gender": GENDERS, "race": RACES, "age": _age_names(data.age_bins)}
        labels, groups = ([_checked(name, data) for name in chosen] for chosen in (data.label, data.group))
        self.label_names = label_names([values[name] for name in labels])
        self.group_names = crossed_names([values[name] for name in groups])
        self.rows: Sequence[SourceRow] = [
            _row(name, self._inside, values, labels, groups, data.age_bins) for name in names
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
    values: dict[str, tuple[str, ...]],
    labels: Sequence[str],
    groups: Sequence[str],
    bins: Sequence[int],
) -> SourceRow:
    found = FILE_NAME.fullmatch(_file_name(name))
    assert found
    index = {"age": bisect_right(bins, int(found["age"])), "gender": int(found["gender"]), "race": int(found["race"])}
    label, group = (" & ".join(values[one][index[one]] for one in chosen) for chosen in (labels, groups))
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


def _checked(name: str, data: DataConfig) -> str:
    if (
        require_known(name, ("gender", "race", "age"), f"UTKFace has no attribute {name!r}") == "age"
        and not data.age_bins
    ):
        raise ConfigError("UTKFace's age is a number; say where its classes begin, as in data.age_bins = [35].")
    return name


def _age_names(bins: Sequence[int]) -> tuple[str, ...]:
    """`under 20`, `20 to 39`, `40 and over` for [20, 40]."""
    if not bins:
        return ()
    between = [f"{low} to {high - 1}" for low, high in pairwise(bins)]
    return (f"under {bins[0]}", *between, f"{bins[-1]} and over")


def _is_image(name: str) -> bool:
    return name.lower().endswith((".jpg", ".jpeg")) and not _file_name(name).startswith(".")


def _file_name(name: str) -> str:
    return name.rpartition("/")[2]
