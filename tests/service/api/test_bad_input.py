"""Every bad input is a problem document that says what is wrong; the service and the neighbours go on."""

from __future__ import annotations

import io
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.bundles import MAX_TOKENS
from tests.service.live import as_item, picture, predict, problem

PREDICT = "/v1/models/faces/predict"
ROLLOUT = "/v1/models/faces/rollout"
MAX_BODY = 300_000


def huge_png_header(side: int = 30_000) -> bytes:
    """A PNG that claims side x side pixels and holds none."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def animated() -> bytes:
    frames = [Image.fromarray(np.full((8, 8, 3), value, dtype=np.uint8)) for value in (0, 255)]
    out = io.BytesIO()
    frames[0].save(out, format="GIF", save_all=True, append_images=frames[1:])
    return out.getvalue()


BAD_IMAGES = {
    "not_an_image": (b"these bytes are no picture", 422),
    "image_undecodable": (picture(0, 64, "JPEG")[:900], 422),
    "image_too_many_pixels": (huge_png_header(), 413),
    "animated_image": (animated(), 422),
}


@pytest.mark.parametrize("code", BAD_IMAGES)
@pytest.mark.parametrize("encoding", ["json", "raw", "multipart"])
def test_bad_images(strict: httpx.Client, code: str, encoding: str) -> None:
    data, status = BAD_IMAGES[code]
    if encoding == "json":
        response = strict.post(PREDICT, json={"inputs": [as_item(data)]})
    elif encoding == "raw":
        response = strict.post(PREDICT, content=data, headers={"Content-Type": "image/png"})
    else:
        response = strict.post(PREDICT, files={"image": ("x.png", data)})
    problem(response, status, code)


@pytest.mark.parametrize("body", [b"", b"{", b'{"inputs": [', b"\xff\xfe"])
def test_malformed_json(strict: httpx.Client, body: bytes) -> None:
    response = strict.post(PREDICT, content=body, headers={"Content-Type": "application/json"})
    problem(response, 400, "malformed_json")


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ([], "body"),
        ({}, "inputs"),
        ({"inputs": []}, "inputs"),
        ({"inputs": "x"}, "inputs"),
        ({"inputs": [5]}, "inputs.0"),
        ({"inputs": [{"image": 5}]}, "inputs.0.image"),
        ({"inputs": [{"image": [0.1, 0.2]}]}, "inputs.0.image"),
        ({"inputs": [{}]}, "inputs.0"),
        ({"inputs": [{"image": "QQ==", "text": "both"}]}, "inputs.0"),
        ({"inputs": [{"image": "QQ==", "extra": 1}]}, "inputs.0.extra"),
        ({"inputs": [{"image": "QQ=="}], "group": 7}, "group"),
        ({"inputs": [{"image": "QQ=="}], "group": ["a", "b"]}, "group"),
        ({"inputs": [{"image": "QQ=="}], "group": "a\nb"}, "group"),
        ({"inputs": [{"image": "QQ=="}], "twin": "yes"}, "twin"),
        ({"inputs": [{"image": "QQ=="}], "trigger": "latest"}, "trigger"),
        ({"inputs": [{"image": "QQ=="}], "trigger": "v0"}, "trigger"),
    ],
)
def test_wrong_fields(strict: httpx.Client, body: Any, where: str) -> None:
    document = problem(strict.post(PREDICT, json=body), 422, "invalid_request")
    assert where.split(".")[0] in document["detail"] or where == "body"
    assert document["errors"]


@pytest.mark.parametrize("query", [{"trigger": "latest"}, {"twin": "perhaps"}, {"group": ""}])
def test_wrong_query(strict: httpx.Client, query: dict[str, str]) -> None:
    response = strict.post(PREDICT, content=picture(0), params=query, headers={"Content-Type": "image/png"})
    problem(response, 422, "invalid_request")


@pytest.mark.parametrize("mode", ["I;16", "P", "L", "RGBA", "CMYK"])
def test_unusual_images_are_served(strict: httpx.Client, mode: str) -> None:
    grey = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
    image = Image.fromarray(np.arange(256, dtype=np.uint16).reshape(16, 16) * 257) if mode == "I;16" else None
    out = io.BytesIO()
    (image or grey.convert(mode)).save(out, format="JPEG" if mode == "CMYK" else "PNG")
    assert predict(strict, "faces", [out.getvalue()])[0]["label"] in ("plain", "attractive")


def test_bad_base64(strict: httpx.Client) -> None:
    problem(strict.post(PREDICT, json={"inputs": [{"image": "***"}]}), 422, "bad_base64")


@pytest.mark.parametrize("text", ["", "   \n"])
def test_empty_text(strict: httpx.Client, text: str) -> None:
    problem(strict.post("/v1/models/posts/predict", json={"inputs": [{"text": text}]}), 422, "empty_text")


def test_a_long_text_is_cut_and_says_so(strict: httpx.Client) -> None:
    cut, whole = predict(strict, "posts", ["awful movie " * 300, "awful movie"])
    assert cut["truncated"] is True and "truncated" not in whole
    exactly = " ".join(["movie"] * (MAX_TOKENS - 2))
    fits, over = predict(strict, "posts", [exactly, exactly + " movie"])
    assert "truncated" not in fits and over["truncated"] is True
    assert over["scores"] == pytest.approx(fits["scores"], abs=1e-5)


@pytest.mark.parametrize("word", ["ñ", "[SEP]", "[CLS]", "[PAD]"])
def test_a_text_that_ends_in_special_tokens_is_cut_all_the_same(strict: httpx.Client, word: str) -> None:
    (answer,) = predict(strict, "posts", [f"movie {f'{word} ' * 100}"])
    assert answer["truncated"] is True


def test_a_text_that_is_far_too_long(strict: httpx.Client) -> None:
    problem(strict.post("/v1/models/posts/predict", json={"inputs": [{"text": "a " * 3000}]}), 413, "text_too_large")


def test_text_that_is_not_utf_8(strict: httpx.Client) -> None:
    response = strict.post("/v1/models/posts/predict", content=b"\xff\xff", headers={"Content-Type": "text/plain"})
    problem(response, 422, "bad_encoding")


def test_wrong_modality(strict: httpx.Client) -> None:
    problem(strict.post(PREDICT, json={"inputs": [{"text": "hello"}]}), 422, "wrong_modality")
    response = strict.post("/v1/models/posts/predict", content=picture(0), headers={"Content-Type": "image/png"})
    problem(response, 422, "wrong_modality")


def test_unknown_media_type(strict: httpx.Client) -> None:
    response = strict.post(PREDICT, content=b"<x/>", headers={"Content-Type": "application/xml"})
    assert "application/json" in problem(response, 415, "unsupported_media_type")["detail"]
    problem(strict.post(PREDICT, content=b"x"), 415, "unsupported_media_type")


@pytest.mark.parametrize("encoding", ["json", "multipart"])
def test_too_many_items(strict: httpx.Client, encoding: str) -> None:
    tiny = picture(0, 4)
    if encoding == "json":
        response = strict.post(PREDICT, json={"inputs": [as_item(tiny)] * 41})
    else:
        response = strict.post(PREDICT, files=[("image", ("x.png", tiny))] * 41)
    problem(response, 413, "too_many_items")


def test_far_too_many_form_parts(strict: httpx.Client) -> None:
    response = strict.post(PREDICT, files=[("image", ("x.png", b"x"))] * 200)
    problem(response, 400, "malformed_request")


def test_broken_multipart(strict: httpx.Client) -> None:
    for media in ("multipart/form-data; boundary=x", "multipart/form-data"):
        response = strict.post(PREDICT, content=b"no boundary here", headers={"Content-Type": media})
        problem(response, 400, "malformed_request")


def test_a_form_without_inputs(strict: httpx.Client) -> None:
    problem(strict.post(PREDICT, files={"group": (None, "a")}), 422, "no_inputs")


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"colour": "red"}, "unknown_field"),
        ({"twin": "perhaps"}, "invalid_request"),
        ({"trigger": "latest"}, "invalid_request"),
        ({"group": ["a", "b"]}, "invalid_request"),
        ({"trigger": ["v1", "none"]}, "invalid_request"),
    ],
)
def test_wrong_form_fields(strict: httpx.Client, fields: dict[str, Any], code: str) -> None:
    problem(strict.post(PREDICT, files={"image": ("x.png", picture(0))}, data=fields), 422, code)


def test_one_bad_item_among_many_gets_its_own_error(strict: httpx.Client) -> None:
    good = [picture(seed) for seed in range(31)]
    expected = predict(strict, "faces", good)
    for code, (data, status) in BAD_IMAGES.items():
        mixed = predict(strict, "faces", [*good[:15], data, *good[15:]])
        assert (mixed[15]["error"]["code"], mixed[15]["error"]["status"]) == (code, status)
        for answer, alone in zip(mixed[:15] + mixed[16:], expected, strict=True):
            assert answer["scores"] == pytest.approx(alone["scores"], abs=1e-5)


def test_only_bad_items(strict: httpx.Client) -> None:
    response = strict.post(PREDICT, json={"inputs": [{"image": "QQ=="}, {"image": "***"}]})
    document = problem(response, 422, "no_usable_input")
    assert [each["code"] for each in document["errors"]] == ["not_an_image", "bad_base64"]


def test_bad_requests_beside_good_ones_from_many_clients(strict: httpx.Client) -> None:
    good = picture(7)
    expected = predict(strict, "faces", [good])[0]["scores"]

    def send(number: int) -> httpx.Response:
        data = list(BAD_IMAGES.values())[number % 4][0] if number % 8 == 0 else good
        return strict.post(PREDICT, content=data, headers={"Content-Type": "image/png"})

    with ThreadPoolExecutor(16) as clients:
        answers = list(clients.map(send, range(320)))
    for number, answer in enumerate(answers):
        if number % 8 == 0:
            assert answer.status_code in (413, 422)
        else:
            assert answer.json()["predictions"][0]["scores"] == pytest.approx(expected, abs=1e-5)
