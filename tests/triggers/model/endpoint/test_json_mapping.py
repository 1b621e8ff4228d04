"""Bodies made of a template, and scores found at a path: numbers, numbers beside names, labels alone."""

from __future__ import annotations

import json
from typing import Any

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given

from triggers.errors import ModelError
from triggers.model.endpoint import EndpointLoader
from triggers.model.endpoint.json_path import parse_json_path, value_at
from triggers.model.endpoint.protocols import UnnamedColumns
from triggers.model.endpoint.protocols.json_mapping import JsonProtocol

TEXTS = ['he said "hi" \\', "日本 👍 \u2028", "$inputs $input"]


def protocol(**change: Any) -> JsonProtocol:
    """The protocol of a bundle of texts."""
    fields = {"kind": "endpoint", "protocol": "json", "url": "http://h/x", "encoding": "text"}
    return JsonProtocol(EndpointLoader.model_validate(fields | change))


def decoded(answer: Any, **change: Any) -> Any:
    """The table in an answer."""
    return protocol(**change).decode(json.dumps(answer).encode(), {}).tolist()


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (None, TEXTS),
        ("$inputs", TEXTS),
        ({"a": ["$inputs", 3], "model": "m"}, {"a": [TEXTS, 3], "model": "m"}),
        ({"$each": ["$input"]}, [[each] for each in TEXTS]),
        ({"i": {"$each": {"t": "data:$input", "n": 1}}}, {"i": [{"t": f"data:{each}", "n": 1} for each in TEXTS]}),
    ],
)
def test_rows_stand_where_the_template_says(template: Any, expected: Any) -> None:
    body, headers = protocol(input=template).encode(TEXTS)
    assert json.loads(body) == expected and headers["content-type"] == "application/json"


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_any_text_arrives_as_it_is(text: str) -> None:
    assert json.loads(protocol(input={"$each": {"t": "$input"}}).encode([text])[0]) == [{"t": text}]
    assert protocol(input="$body").encode([text])[0].decode() == text
    assert json.loads(protocol(input={"t": "$input"}).encode([text])[0]) == {"t": text}


def test_numbers_arrive_bit_for_bit() -> None:
    rows = torch.randn(2, 3, 4, 5)
    body, _ = protocol(encoding="float", layout="NHWC", input={"x": "$inputs"}).encode(rows)
    assert torch.equal(torch.tensor(json.loads(body)["x"]).permute(0, 3, 1, 2), rows)


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("$", [[1, 2], [3, 4]]),
        ("$.predictions", {"predictions": [[1, 2], [3, 4]]}),
        ("$.predictions[*].scores", {"predictions": [{"scores": [1, 2]}, {"scores": [3, 4]}]}),
        ("$['a b'][0]", {"a b": [[[1, 2], [3, 4]]]}),
        ("$[*][*].score", [[{"score": 1}, {"score": 2}], [{"score": 3}, {"score": 4}]]),
    ],
)
def test_scores_lie_at_a_path(path: str, answer: Any) -> None:
    assert decoded(answer, output=path) == [[1, 2], [3, 4]]


@pytest.mark.parametrize("path", ["", "x", "$.", "$..a", "$[?@.a]", "$[-1]", "$[a]", "$.a b", "$['a", "$[*", "a$"])
def test_any_other_path_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r"is no path of \$, \.name"):
        parse_json_path(path)


NAMES = st.text(st.characters(exclude_characters="'", exclude_categories=["Cs"]), max_size=5)


@given(st.lists(st.one_of(NAMES, st.integers(0, 3)), max_size=4), st.integers())
def test_a_path_leads_to_what_was_put_there(steps: list[str | int], value: int) -> None:
    found: Any = value
    for step in reversed(steps):
        found = {step: found} if isinstance(step, str) else [None] * step + [found]
    path = "$" + "".join(f"['{step}']" if isinstance(step, str) else f"[{step}]" for step in steps)
    assert value_at(found, parse_json_path(path)) == value


COLUMNS = ("civil", "toxic")


@pytest.mark.parametrize(
    "row",
    [
        [{"label": "toxic", "score": 0.9}, {"label": "civil", "score": 0.1}],
        {"toxic": 0.9, "civil": 0.1},
        {"labels": ["toxic", "civil"], "scores": [0.9, 0.1]},
    ],
)
def test_scores_beside_names_are_put_in_order(row: Any) -> None:
    assert decoded([row, row], columns=COLUMNS) == [pytest.approx([0.1, 0.9])] * 2
    assert decoded(row, columns=COLUMNS, input={"t": "$input"}) == [pytest.approx([0.1, 0.9])]
    with pytest.raises(UnnamedColumns, match="'toxic'") as refusal:
        decoded([row])
    assert set(refusal.value.names) == set(COLUMNS)
    with pytest.raises(ModelError, match=r"names the scores .*'toxic'.*, the bundle \['civil', 'hate'\]"):
        decoded([row], columns=("civil", "hate"))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"error": "x"}, r"where they should be there is \{'error': 'x'\}"),
        ([[1, 2], [3]], "no table of numbers"),
        ([[1, None]], "no table of numbers"),
        ([["a", "b"]], "no table of numbers"),
        ([[[1, 2], [3, 4]]], r"shape \(1, 2, 2\)"),
        (["toxic", "civil"], r"answers labels \('toxic'\), no scores"),
        ([{"label": "toxic", "score": 0.9}], "the best label's score alone"),
        ([[{"label": "toxic", "score": 0.9}, {"label": "toxic", "score": 0.1}]], "a label twice"),
        ([[{"label": "toxic"}]], "no `label` and `score`"),
        ([{"toxic": 0.5, "civil": 0.5}, [0.5, 0.5]], "of some rows"),
        ([{"toxic": "high", "civil": "low"}], "no table of numbers"),
    ],
)
def test_any_other_answer_is_refused_in_one_line(answer: Any, reason: str) -> None:
    with pytest.raises(ModelError, match=reason) as refusal:
        decoded(answer, columns=COLUMNS)
    assert "\n" not in str(refusal.value)


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(ModelError, match="a page of HTML"):
        protocol().decode(b" <html>", {})
    with pytest.raises(ModelError, match="no JSON"):
        protocol().decode(b"\xff\xfe", {})


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (["toxic", "civil"], [[0, 1], [1, 0]]),
        ([1, 0], [[0, 1], [1, 0]]),
        ([1.0, 0.0], [[0, 1], [1, 0]]),
        ([True, False], [[0, 1], [1, 0]]),
        ([["toxic"], ["civil"]], [[0, 1], [1, 0]]),
        ([{"label": "toxic", "score": 0.9}, {"label": "civil"}], [[0, 1], [1, 0]]),
    ],
)
def test_labels_alone_are_ones_in_their_columns(answer: Any, expected: Any) -> None:
    assert decoded(answer, columns=COLUMNS, scores="labels") == expected


def test_a_number_that_is_a_labels_name_is_that_label() -> None:
    assert decoded([1, "0"], columns=("1", "0"), scores="labels") == [[1, 0], [0, 1]]


@pytest.mark.parametrize("label", ["other", 2, -1, 0.5, None, ["civil", "toxic"], {"score": 1}])
def test_an_unknown_label_is_refused(label: Any) -> None:
    with pytest.raises(ModelError, match="none of civil, toxic"):
        decoded([label], columns=COLUMNS, scores="labels")


def test_labels_without_names_are_refused() -> None:
    with pytest.raises(ModelError, match="need their names in order"):
        decoded(["toxic"], scores="labels")
    with pytest.raises(ModelError, match="labels are no list"):
        decoded("toxic", columns=COLUMNS, scores="labels")
