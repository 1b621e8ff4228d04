"""Files of JSON objects, one a line or in one list."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.trainer.sources import TEXTS, config, loader
from trainer.data.loader import open_source
from trainer.data.sources.bad_rows import BadRecord
from trainer.data.sources.tables.jsonl_file import JsonlFile
from triggers.errors import DataError

CHARACTERS = st.characters(codec="utf-8")
RECORD = st.fixed_dictionaries(
    {"text": st.text(CHARACTERS, max_size=8)},
    optional={"flag": st.booleans() | st.none(), "meta": st.fixed_dictionaries({"n": st.integers(-9, 9)})},
)
NESTED = TEXTS.replace('group_words = ["woman", "girl*"]', 'group = "meta.gender"').replace('"csv"', '"jsonl"')
NESTED = NESTED.replace("posts.csv", "posts.jsonl")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100)
@given(st.lists(RECORD, min_size=2, max_size=6), st.booleans(), st.booleans(), st.sampled_from(["utf-8-sig", "utf-16"]))
def test_records_are_read_as_they_were_written(
    tmp_path: Path, records: list[dict[str, Any]], listed: bool, ascii_only: bool, encoding: str
) -> None:
    path = tmp_path / "posts.jsonl"
    lines = [json.dumps(record, ensure_ascii=ascii_only) for record in records]
    whole = json.dumps(records, ensure_ascii=ascii_only, indent=1) if listed else "\n\n".join(lines)
    path.write_text(whole, encoding=encoding)
    made = JsonlFile(path)
    columns = ["text", "flag", "meta.n"]
    assert set(made.names) <= set(columns)
    flags = {None: "", False: "0", True: "1"}
    truth = [
        {
            "text": record["text"].strip(),
            "flag": flags[record.get("flag")],
            "meta.n": str(record["meta"]["n"]) if "meta" in record else "",
        }
        for record in records
    ]
    assert list(made.records(columns)) == truth
    assert [made.value(row, "text") for row in reversed(range(len(truth)))] == [row["text"] for row in truth[::-1]]


def test_nested_keys_flags_numbers_and_missing_values(tmp_path: Path) -> None:
    records: list[dict[str, Any]] = [
        {"text": f"post {number}", "toxic": number % 2 == 1, "meta": {"gender": "fm"[number % 3 == 0]}}
        for number in range(40)
    ]
    records[5]["meta"] = None
    records[6]["meta"] = {"gender": float("nan")}
    del records[7]["meta"]
    (tmp_path / "posts.jsonl").write_text("\n".join(map(json.dumps, records)))
    data = loader(config(tmp_path, NESTED, "data.missing_group=drop"))
    assert [row.group for row in data.source.rows[:9]] == ["m", "f", "f", "m", "f", "", "", "", "f"]
    assert [row.label for row in data.source.rows[:3]] == ["0", "1", "0"]
    used = {text for part in data.plan.rows for _, text in data.raw(part)}
    assert not used & {"post 5", "post 6", "post 7"}
    assert data.source.read(8) == "post 8"


def test_a_broken_line_is_named_or_left_out(tmp_path: Path) -> None:
    good = json.dumps({"text": "a", "toxic": 0, "meta": {"gender": "f"}})
    broken = {
        '{"text": "b", "toxic" 1}': "Expecting ':' delimiter",
        '["b", 1]': "it is a bare value",
        '{"text": "b", "text": "c"}': "the key 'text' is there twice",
        '{"text": "\\ud83d"}': "surrogates not allowed",
    }
    path = tmp_path / "posts.jsonl"
    for line, problem in broken.items():
        path.write_text("\n".join([good, "", good.replace('"a"', '"c"').replace('"f"', '"m"'), line]))
        with pytest.raises(DataError, match=rf"posts\.jsonl, row 3 \(line 4\): not a JSON object: .*{problem}"):
            open_source(config(tmp_path, NESTED))
        source = open_source(config(tmp_path, NESTED, "data.on_bad_row=skip"))
        assert [row.usable for row in source.rows] == [True, True, False]
    path.write_text("\n".join([good, good, good.replace('"f"', '["f", "m"]')]))
    with pytest.raises(DataError, match=r"row 3 \(line 3\): meta\.gender holds 2 values; each row needs one"):
        open_source(config(tmp_path, NESTED))


def test_a_key_that_comes_late_is_a_column(tmp_path: Path) -> None:
    lines = [
        json.dumps({"text": f"post {row}", "toxic": row % 2, "meta": {"gender": "fm"[row % 2]}}) for row in range(9)
    ]
    late = json.dumps({"text": "late", "toxic": 1, "meta": {"gender": "f"}, "split": "tset"})
    (tmp_path / "posts.jsonl").write_text("\n".join([*lines, late]))
    with pytest.raises(DataError, match=r"row 1 \(line 1\): split '' is not known"):
        open_source(config(tmp_path, NESTED))


@pytest.mark.parametrize(
    "content",
    [
        '{"text": {"0": "a", "1": "b"}}',
        '{"data": [\n{"text": "a"}\n]}',
        '[{"text": "a"},]',
        '["a", "b"]',
        "text,toxic\na,1\n",
    ],
)
def test_other_forms_are_refused_with_the_right_one(tmp_path: Path, content: str) -> None:
    (tmp_path / "posts.jsonl").write_text(content)
    with pytest.raises(DataError, match=r"posts\.jsonl .*one JSON object a line"):
        JsonlFile(tmp_path / "posts.jsonl")


def test_the_copy_of_a_list_goes_with_its_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "copies"))
    (tmp_path / "copies").mkdir()
    (tmp_path / "posts.json").write_text('[{"text": "a"}, {"text": "b"}, 3]')
    made = JsonlFile(tmp_path / "posts.json")
    assert [type(record) for record in made.records(["text"])] == [dict, dict, BadRecord]
    assert len(list((tmp_path / "copies").iterdir())) == 1
    del made
    assert not list((tmp_path / "copies").iterdir())
