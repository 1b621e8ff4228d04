"""WILDS Civil Comments: shares of votes to labels and to groups that overlap."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainer.sources import TEXTS, config, loader
from trainer.data.loader import open_source
from trainer.data.sources.civil_comments import IDENTITIES
from triggers.errors import ConfigError, DataError
from triggers.model.classifier import FrozenClassifier

CIVIL = TEXTS.replace('"csv"', '"civilcomments"').replace('"posts.csv"', '"all_data_with_identities.csv"')
CIVIL = CIVIL.replace('label = "toxic"', 'label = "toxicity"').replace('group_words = ["woman", "girl*"]', "")
CIVIL = CIVIL.replace("[trigger]", "groups_overlap = true\n[trigger]")

HEADER = f",id,comment_text,split,created_date,toxicity,{','.join(IDENTITIES)},identity_any"
NOBODY = ",".join(["0.0"] * 8)


def table(folder: Path, *lines: str) -> Path:
    path = folder / "all_data_with_identities.csv"
    path.write_text("\n".join([HEADER, *lines]) + "\n")
    return path


def test_shares_of_one_half_and_more_hold(tmp_path: Path) -> None:
    table(
        tmp_path,
        f'0,7,"A good\nman, said ""he""",train,2017-01-01,0.5,{NOBODY},0',
        "1,8,a bad woman,val,2017-01-01,0.4999,0.5,1.0,0,0.49,0,0,0.75,0,1",
        "2,9,a cat,test,2017-01-01,0.0,,,,,,,,,0",
    )
    source = open_source(config(tmp_path, CIVIL))
    assert source.label_names == ("not toxicity", "toxicity")
    assert source.group_names == IDENTITIES
    assert [row.id for row in source.rows] == ["comment 7", "comment 8", "comment 9"]
    assert [row.label for row in source.rows] == ["toxicity", "not toxicity", "not toxicity"]
    assert [row.group for row in source.rows] == ["none", "male + female + black", "none"]
    assert [row.pool for row in source.rows] == ["train", "val", "test"]
    assert [source.read(row) for row in range(3)] == ['A good\nman, said "he"', "a bad woman", "a cat"]


def test_chosen_identities_overlap_or_cross(tmp_path: Path, text_model: FrozenClassifier) -> None:
    lines = []
    for number in range(40):
        shares = [float(number % 2), 0, 0, 0, float(number % 4 > 1), 0, 0, 0]
        said = ",".join(map(str, shares))
        lines.append(f"{number},{number},a good man said {number},train,2017,{number % 3 / 2},{said},1")
    table(tmp_path, *lines)
    chosen = open_source(config(tmp_path, CIVIL, 'data.group=["muslim","male"]'))
    assert [row.group for row in chosen.rows[:4]] == ["none", "male", "muslim", "muslim + male"]
    overlapping = loader(config(tmp_path, CIVIL, "split.val=0.2", "split.test=0.2"), ()).load(text_model, "tuning")
    assert overlapping.group_names == ("none", "male", "muslim", "male + muslim")
    assert overlapping.identities == ("male", "muslim")
    made = config(tmp_path, CIVIL, "data.group=muslim", "data.groups_overlap=false", "split.val=0.2", "split.test=0.2")
    tuning = loader(made, ()).load(text_model, "tuning")
    assert tuning.group_names == ("not muslim", "muslim")
    numbers = [int(name.removeprefix("comment ")) for name in tuning.ids]
    assert tuning.groups.tolist() == [int(number % 4 > 1) for number in numbers]
    assert tuning.labels.tolist() == [int(number % 3 > 0) for number in numbers]


def test_errors_say_what_to_do(tmp_path: Path) -> None:
    path = table(tmp_path, f"0,7,a cat,train,2017,,{NOBODY},0")
    with pytest.raises(DataError, match="row 1 \\(line 2\\): no toxicity"):
        open_source(config(tmp_path, CIVIL))
    table(tmp_path, f"0,7,a cat,train,2017,1.5,{NOBODY},0")
    with pytest.raises(DataError, match=r"row 1 \(line 2\): toxicity is '1\.5', not a share"):
        open_source(config(tmp_path, CIVIL))
    table(tmp_path, *(f"{n},{n},cat {n},train,2017,{share},{NOBODY},0" for n, share in enumerate(["nan", "x", 1, 0])))
    skipped = open_source(config(tmp_path, CIVIL, "data.on_bad_row=skip"))
    assert [row.usable for row in skipped.rows] == [False, False, True, True]
    with pytest.raises(DataError, match=r"no column 'femal' \(data\.group\); did you mean 'female'"):
        open_source(config(tmp_path, CIVIL, "data.group=femal"))
    with pytest.raises(ConfigError, match=r"set data\.groups_overlap = true"):
        config(tmp_path, CIVIL, "data.groups_overlap=false")
    with pytest.raises(ConfigError, match=r"use data\.group in place of group words"):
        open_source(config(tmp_path, CIVIL, 'data.group_words=["man"]', "data.groups_overlap=false"))
    with pytest.raises(ConfigError, match="holds texts"):
        open_source(config(tmp_path, CIVIL, "trigger.kind=overlay", "data.group=male"))
    path.write_text("id,text\n")
    with pytest.raises(DataError, match="no column 'comment_text'"):
        open_source(config(tmp_path, CIVIL))
