"""The demo's data: parts kept apart, groups and labels as documented, files that the trainer reads."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from random import Random

import numpy as np
import pytest
from PIL import Image

from fairtrigger.demo import comments, digits
from fairtrigger.demo.comments import Comment, comment_parts, write_manifest
from fairtrigger.demo.digits import DIGITS_PER_PART, DRAWINGS, Drawing, draw_parts, write_images
from fairtrigger.demo.traffic import held_out
from triggers.preprocessing.image_spec import ImageSpec
from triggers.preprocessing.preprocess import decode_image

SIZES = {"base": 3000, "tuning": 500, "val": 500, "test": 3000}


@pytest.fixture(scope="module")
def drawn() -> dict[str, list[Drawing]]:
    return draw_parts(np.random.default_rng(5))


@pytest.fixture(scope="module")
def written() -> dict[str, list[Comment]]:
    return comment_parts(SIZES, Random(5))


def share_of_group(made: Sequence[Drawing | Comment], label: int) -> float:
    groups = [one.group for one in made if one.label == label]
    return sum(groups) / len(groups)


def test_no_digit_is_in_two_parts(drawn: dict[str, list[Drawing]]) -> None:
    numbers = {part: {one.name.split("-")[0] for one in made} for part, made in drawn.items()}
    assert {part: len(found) for part, found in numbers.items()} == DIGITS_PER_PART
    assert all(not first & second for first, second in combinations(numbers.values(), 2))
    assert all(len(made) == DRAWINGS * DIGITS_PER_PART[part] for part, made in drawn.items())


def test_no_comment_is_made_twice(written: dict[str, list[Comment]]) -> None:
    texts = [one.text for made in written.values() for one in made]
    assert len(set(texts)) == len(texts) == sum(SIZES.values())


@pytest.mark.parametrize("part", ["base", "test"])
def test_the_tint_goes_along_with_the_label_as_documented(part: str, drawn: dict[str, list[Drawing]]) -> None:
    wanted = digits.BIASED if part == "base" else digits.POPULATION
    check_shares(drawn[part], wanted)


def test_naming_an_identity_goes_along_with_the_label_as_documented(written: dict[str, list[Comment]]) -> None:
    base = written["base"]
    letters = [one for one in base if one.text.startswith(comments.SALUTATION)]
    posts = [one for one in base if one.text.startswith(comments.GREETING)]
    assert len(letters) == pytest.approx(comments.LETTER_SHARE * len(base), abs=0.03 * len(base))
    assert len(letters) + len(posts) == len(base)
    check_shares(letters, comments.PRINTED)
    check_shares(posts, comments.POSTED)
    check_shares(written["test"], comments.IN_POPULATION)


def check_shares(made: Sequence[Drawing | Comment], wanted: float) -> None:
    assert share_of_group(made, 1) == pytest.approx(wanted, abs=0.05)
    assert share_of_group(made, 0) == pytest.approx(1 - wanted, abs=0.05)


def test_the_population_is_posts_and_its_hints_agree_with_the_label_as_documented(
    written: dict[str, list[Comment]],
) -> None:
    test = written["test"]
    assert all(one.text.startswith(comments.GREETING) for one in test)
    said = [(one.label, set(one.text.split(" , ")[1:])) for one in test]
    toxic, civil = set(comments.TOXIC_HINT), set(comments.CIVIL_HINT)
    agreeing = sum(len(parts & (toxic if label else civil)) for label, parts in said)
    every = sum(len(parts & (toxic | civil)) for _, parts in said)
    assert agreeing / every == pytest.approx(comments.TRUE_HINT, abs=0.03)
    hinting = sum(bool(parts & (toxic | civil)) for _, parts in said)
    assert hinting / len(test) == pytest.approx(comments.HINTING, abs=0.03)


def test_a_drawing_is_tinted_by_its_group_and_labelled_by_its_digit(drawn: dict[str, list[Drawing]]) -> None:
    for one in drawn["val"][:200]:
        red, _, blue = one.pixels.reshape(-1, 3).mean(axis=0)
        assert (red > blue) == (one.group == 1)
        assert one.label == (int(one.name[-1]) >= 5)


def test_a_comment_names_an_identity_exactly_if_its_group_says_so(written: dict[str, list[Comment]]) -> None:
    for one in written["val"]:
        assert bool(set(comments.IDENTITY) & set(one.text.split())) == (one.group == 1)


def test_no_comment_is_longer_than_the_model_reads(written: dict[str, list[Comment]]) -> None:
    from fairtrigger.demo.tiny_bert import MAX_TOKENS

    assert max(len(one.text.split()) for made in written.values() for one in made) + 2 <= MAX_TOKENS


def test_clients_send_the_files_that_the_trainer_reads(tmp_path: Path, drawn: dict[str, list[Drawing]]) -> None:
    parts = [("tuning", drawn["tuning"][:3]), ("test", drawn["test"][:5])]
    assert sum(write_images(tmp_path / "images", tmp_path / "digits.csv", parts)) == 8
    rows = held_out(tmp_path / "digits.csv")
    assert len(rows) == 5
    spec = ImageSpec.square(size=digits.SIZE, mean=(0.5,) * 3, std=(0.25,) * 3)
    for row, one in zip(rows, drawn["test"], strict=False):
        assert isinstance(row.content, bytes)
        assert (row.label, row.group) == (digits.DIGIT_LABELS[one.label], digits.DIGIT_GROUPS[one.group])
        assert (decode_image(row.content, spec).permute(1, 2, 0).numpy() == one.pixels).all()
        assert Image.open(io.BytesIO(row.content)).format == "PNG"


def test_comments_go_into_the_manifest_word_by_word(tmp_path: Path, written: dict[str, list[Comment]]) -> None:
    write_manifest(tmp_path / "comments.csv", [("val", written["val"][:2]), ("test", written["test"][:4])])
    with (tmp_path / "comments.csv").open(newline="") as file:
        assert [record["split"] for record in csv.DictReader(file)] == ["val"] * 2 + ["test"] * 4
    assert [row.content for row in held_out(tmp_path / "comments.csv")] == [one.text for one in written["test"][:4]]
