"""WILDS Civil Comments, `all_data_with_identities.csv`: a comment, its share of votes for toxicity and for identities.

A label or an identity holds from a share of one half on. Identities were annotated for a part of the comments only;
as in WILDS, an identity without a share is not mentioned.
"""

from __future__ import annotations

from collections.abc import Sequence

from trainer.config import DataConfig
from trainer.config.data_config import SplitConfig
from trainer.config.run_config import Modality
from trainer.data.sources.bad_rows import BadRecord, BadRows
from trainer.data.sources.base import SourceRow, pool_of
from trainer.data.sources.file_stamps import FileStamp
from trainer.data.sources.tables.column_values import BadValue
from trainer.data.sources.tables.csv_file import CsvFile
from trainer.data.sources.tables.table import Record
from trainer.data.sources.tables.table_rows import known_column
from trainer.data.values.group_names import flag_group, flag_groups, flag_index, flag_names
from trainer.data.values.number_bins import read_number
from trainer.data.values.value_spelling import is_missing
from triggers.errors import ConfigError

TEXT, ID, SPLIT = "comment_text", "id", "split"
IDENTITIES = ("male", "female", "LGBTQ", "christian", "muslim", "other_religions", "black", "white")
HOLDS = 0.5


class CivilComments:
    """Labels "not toxicity" and "toxicity"; overlapping groups are all identities, or those in data.group.

    Without data.groups_overlap the identities in data.group are crossed: "not muslim" and "muslim" for one.
    """

    modality: Modality = "text"

    def __init__(self, data: DataConfig, split: SplitConfig, bad_rows: BadRows) -> None:
        if data.group_words or data.group_words_file:
            raise ConfigError("Civil Comments names identities in columns; use data.group in place of group words.")
        self._table = CsvFile(data.path, data.encoding, data.delimiter)
        self.notes = self._table.notes
        self._identities = data.group or IDENTITIES
        pool = split.column or SPLIT
        keys = {TEXT: "the comment", ID: "its id", pool: "split.column"}
        keys |= dict.fromkeys(data.label, "data.label") | dict.fromkeys(self._identities, "data.group")
        for name, key in keys.items():
            known_column(name, self._table.names, key, data.path)
        self.label_names = flag_names(data.label, data.label_rule)
        self.group_names = flag_groups(self._identities, overlapping=data.groups_overlap)
        self.rows: Sequence[SourceRow] = [
            self._row(record, data, pool, row, bad_rows) for row, record in enumerate(self._table.records())
        ]

    def _row(self, record: Record | BadRecord, data: DataConfig, pool: str, row: int, bad_rows: BadRows) -> SourceRow:
        where = self._table.where(row)
        if isinstance(record, BadRecord):
            bad_rows.refuse_or_skip(where, record.kind, record.problem)
            return SourceRow(self._table.row_id(row), "", "", "", usable=False)
        try:
            label = self.label_names[flag_index([_vote(record, name) for name in data.label], data.label_rule)]
            held = [bool(_holds(record[name], name)) for name in self._identities]
        except BadValue as bad:
            bad_rows.refuse_or_skip(where, bad.kind, bad.problem, bad.remedy)
            return SourceRow(self._table.row_id(row), "", "", "", usable=False)
        group = flag_group(self._identities, held, overlapping=data.groups_overlap)
        return SourceRow(f"comment {record[ID]}", label, group, pool_of(record[pool], where))

    def read(self, row: int) -> str:
        """The comment."""
        return self._table.value(row, TEXT)

    def stamp(self, row: int) -> FileStamp | None:
        """Stamp of the comment's place in the table."""
        return self._table.stamp(row, TEXT)


def _vote(record: Record, name: str) -> bool:
    """Whether a label holds. Raises BadValue where it was not annotated."""
    holds = _holds(record[name], name)
    if holds is None:
        raise BadValue("missing label", f"no {name}")
    return holds


def _holds(share: str, name: str) -> bool | None:
    """Whether it holds, by its share of votes; None where it was not annotated. Raises BadValue."""
    if is_missing(share, ()):
        return None
    value = read_number(share, whole=False)
    if value is None or not 0 <= value <= 1:
        raise BadValue("bad number", f"{name} is {share!r}, not a share between 0 and 1")
    return value >= HOLDS
