"""Configuration of the data and its parts: the sections [data] and [split] of a run."""

from __future__ import annotations

from dataclasses import field
from typing import Any, Literal

from pydantic import PositiveInt, model_validator
from pydantic.dataclasses import dataclass

from trainer.config.toml_schema import STRICT, ConfigPath, OneOrMore
from trainer.config.value_config import BinEdges, LabelRule, NameTable, check_bins, check_map, joint_map
from triggers.errors import ConfigError
from triggers.metrics.overlapping_groups import identities_of


@dataclass(frozen=True, config=STRICT)
class DataConfig:
    """[data] Where the labelled, grouped inputs are."""

    format: Literal["auto", "csv", "jsonl", "parquet", "files", "datasets", "celeba", "utkface", "civilcomments"]
    path: ConfigPath  # a file, a folder of files, or for files, celeba and utkface a plain .tar; see docs/data.md
    label: OneOrMore[str]  # column(s) or attribute(s); several make one label, a class for each combination
    group: OneOrMore[str] = ()  # column(s) or attribute(s); several are crossed
    groups_overlap: bool = False  # the columns in group say 0 or 1, and a row may belong to several of them, or to none
    group_names: OneOrMore[str] = ()  # names of the groups, index 0 first; empty: the values found, sorted
    label_map: NameTable = field(default_factory=dict)  # values of the data to labels; "*": all the rest
    group_map: NameTable = field(default_factory=dict)  # the same for groups; { White = "White", "*" = "non-White" }
    label_bins: BinEdges = ()  # numbers where the classes of a column begin; [30, 50]: under 30, 30 to 49, 50 and over
    group_bins: BinEdges = ()
    label_rule: LabelRule = "cross"  # several columns of 0 and 1 as one label: any or all of them
    group_words: OneOrMore[str] = ()  # texts: group = does the text hold one of these; "word*" matches any ending
    group_words_file: ConfigPath | None = None  # the same, one per line
    age_bins: OneOrMore[int] = ()  # utkface: where the classes of "age" begin; [35]: under 35, 35 and over
    missing_group: Literal["refuse", "drop"] = "refuse"  # what to do with a row without a known group
    on_bad_row: Literal["refuse", "skip"] = "refuse"  # what to do with a row that cannot be used for another reason
    input: str | None = None  # column of the image, its path or the text; None: "path" or "image", or "text"
    root: ConfigPath | None = None  # csv, jsonl, parquet: folder or .tar that image paths start from; None: the file's
    columns_from_path: str | None = None  # files: columns in the files' paths, as "{split}/{label}/{group}_*.jpg"
    delimiter: str | None = None  # csv: the character between fields; None: found out
    encoding: str | None = None  # csv, jsonl, texts: as "cp1252"; None: UTF-8, or what a byte order mark says
    limit: PositiveInt | None = None  # largest number of rows, chosen by `split.seed`, for a quick try

    @model_validator(mode="before")
    @classmethod
    def _find_out_format(cls, given: Any) -> Any:
        """A table without a format has "auto"."""
        return {"format": "auto", **given} if isinstance(given, dict) else given

    def __post_init__(self) -> None:
        self._check_reading()
        if not self.label or len(set(self.label)) != len(self.label):
            raise ConfigError(f"data.label is {list(self.label)}; name one column or attribute, or several different.")
        bins = list(self.age_bins)
        if bins and (self.format != "utkface" or bins[0] < 1 or bins != sorted(set(bins))):
            raise ConfigError(f"data.age_bins is {bins}; it takes rising ages, and has a meaning for utkface only.")
        given = sum(map(bool, (self.group, self.group_words, self.group_words_file)))
        if given != 1 and not self._all_identities():
            raise ConfigError("Give exactly one of data.group, data.group_words and data.group_words_file.")
        if len(set(self.group_names)) != len(self.group_names):
            raise ConfigError(f"data.group_names {list(self.group_names)} names a group twice.")
        self._check_values()
        if self.groups_overlap:
            self._check_overlap()

    def _check_values(self) -> None:
        for what, columns in (("label", self.label), ("group", self.group)):
            table, edges = getattr(self, f"{what}_map"), getattr(self, f"{what}_bins")
            check_map(f"data.{what}_map", table, columns)
            check_bins(f"data.{what}_bins", edges, columns)
        if self.label_rule != "cross" and len(self.label) < 2:
            raise ConfigError(f'data.label_rule = "{self.label_rule}" joins several columns; name them in data.label.')
        self.check_values_of(self.format)

    def check_values_of(self, kind: str) -> None:
        """Raise ConfigError for tables of values that have no meaning in data of this format, which was found out."""
        for what in ("label", "group") if kind in ("celeba", "utkface", "civilcomments") else ():
            if getattr(self, f"{what}_bins"):
                hint = "data.age_bins cuts ages" if kind == "utkface" else "the values are yes or no"
                raise ConfigError(f"data.{what}_bins has no meaning for {kind}, where {hint}; remove it.")
            table = getattr(self, f"{what}_map")
            if table and not joint_map(table) and kind != "utkface":
                example = f'{{ "not {next(iter(table))}" = "...", ... }}'
                raise ConfigError(
                    f"{kind} takes one table of what its attributes say together: data.{what}_map = {example}."
                )
        if self.label_rule != "cross" and kind == "utkface":
            raise ConfigError("data.label_rule joins columns of 0 and 1, which utkface has not; remove it.")

    def _check_reading(self) -> None:
        """Refuse keys of other formats, and what cannot be a delimiter or an encoding."""
        meant = {
            "columns_from_path": ("files",),
            "delimiter": ("csv", "civilcomments"),
            "encoding": ("csv", "civilcomments", "jsonl", "files"),
        }
        for key, formats in meant.items():
            if getattr(self, key) is not None and self.format not in ("auto", *formats):
                raise ConfigError(f"data.{key} has a meaning for {', '.join(formats)} only; remove it.")
        if self.format == "files" and not self.columns_from_path:
            raise ConfigError('data.format = "files" needs data.columns_from_path, as in "{split}/{label}/{group}/*".')
        if self.delimiter is not None and (len(self.delimiter) != 1 or self.delimiter in '"\\\r\n'):
            raise ConfigError(f"data.delimiter is {self.delimiter!r}; give one character, or leave it out.")
        try:
            "".encode(self.encoding or "utf-8")
        except LookupError as error:
            raise ConfigError(f'data.encoding: {error}; write it like "cp1252" or "utf-16-le".') from error

    def _check_overlap(self) -> None:
        if self.group_names or self.group_words or self.group_words_file:
            raise ConfigError(
                "With data.groups_overlap the groups are the columns in data.group; remove other data.group_* keys."
            )
        if joint_map(self.group_map):
            raise ConfigError(
                "With data.groups_overlap, map the values of each column to 0 or 1: [data.group_map.COLUMN]."
            )
        bad = [name for name in self.group if identities_of(name) != (name,)]
        if bad:
            raise ConfigError(f"data.group {bad[0]!r} cannot name a group that overlaps others; rename the column.")

    def _all_identities(self) -> bool:
        """Whether these are Civil Comments without a choice of groups: all of its identities, which overlap."""
        named = self.group or self.group_words or self.group_words_file
        if self.format != "civilcomments" or named:
            return False
        if not self.groups_overlap:
            raise ConfigError("Civil Comments' identities overlap; set data.groups_overlap = true, or name data.group.")
        return True


@dataclass(frozen=True, config=STRICT)
class SplitConfig:
    """[split] Sizes: a whole number is rows, a fraction is a share of the pool.

    Without a partition in the data there is one pool. With one, `base` and `tuning` share the train pool, and `val`
    and `test` have theirs. None: all of its own pool; parts that share a pool share what is left as 50:20:15:15.
    """

    column: str | None = None  # tables: column that says train, val or test; None: "split" if there is one
    column_map: dict[str, str] | None = None  # what its values mean, as { 0 = "train", 1 = "val", 2 = "test" }
    base: int | float | None = None
    tuning: int | float | None = None
    val: int | float | None = None
    test: int | float | None = None
    tuning_ratio: float = 1.0  # share of the tuning part that is used; smaller shares lie in larger ones
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.tuning_ratio <= 1:
            raise ConfigError(f"split.tuning_ratio is {self.tuning_ratio}; give a share above 0.0, at most 1.0.")
        for name in ("base", "tuning", "val", "test"):
            size = getattr(self, name)
            if size is not None and (size < 0 or (isinstance(size, float) and size > 1)):
                raise ConfigError(f"split.{name} is {size}; give a number of rows, or a share between 0.0 and 1.0.")
