"""Inputs as clients have them, over HTTP: the answer of what was meant, or a refusal of that input alone."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import httpx
import numpy as np
import pytest

from tests import mutations
from tests.service.live import as_item, encoded, picture, predict, problem

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL.*")

FACES, POSTS = "/v1/models/faces/predict", "/v1/models/posts/predict"
LOVELY = "what a lovely day"


def scores(prediction: dict[str, Any]) -> dict[str, float]:
    assert "error" not in prediction, prediction
    found: dict[str, float] = prediction["scores"]
    return found


def codes(response: httpx.Response) -> list[str | None]:
    """The error code of every input, None for an answer."""
    assert response.status_code == 200, response.text
    return [each["error"]["code"] if "error" in each else None for each in response.json()["predictions"]]


def sent(client: httpx.Client, body: bytes, content_type: str, path: str = POSTS) -> httpx.Response:
    return client.post(path, content=body, headers={"Content-Type": content_type})


def test_a_photo_with_a_text_as_resolution_is_answered_beside_others(strict: httpx.Client) -> None:
    block = mutations.exif_block()
    block.endian = ">"
    broken = block.tobytes().replace(b"\x01\x1a\x00\x05\x00\x00\x00\x01", b"\x01\x1a\x00\x02\x00\x00\x00\x08")
    photos = [mutations.encoded("JPEG", exif=exif) for exif in (block.tobytes(), broken)]
    phone = mutations.encoded("MPO", save_all=True, append_images=[mutations.picture()], exif=block.tobytes())
    whole, damaged, first, other = predict(strict, "faces", [*photos, phone, picture(1)])
    assert scores(damaged) == pytest.approx(scores(whole))
    assert scores(first) == pytest.approx(scores(whole))
    assert scores(other)


def test_a_float_ramp_is_its_eight_bits(strict: httpx.Client) -> None:
    wide, plain = (mutations.encoded(*each) for each in (("TIFF", "F"), ("PNG", "grey")))
    found, right = predict(strict, "faces", [wide, plain])
    assert scores(found) == pytest.approx(scores(right), abs=0.02)
    out_of_range = as_item(tiff(np.linspace(0, 255, 64, dtype=np.float32).reshape(8, 8)))
    response = strict.post(FACES, json={"inputs": [out_of_range, as_item(picture(1))]})
    assert codes(response) == ["unknown_range", None]


def tiff(pixels: Any) -> bytes:
    return encoded(pixels, "TIFF")


@pytest.mark.parametrize("charset", ["utf-16le", "UTF-16", "utf-32", '"latin-1"', "us-ascii"])
def test_plain_text_in_its_own_encoding(strict: httpx.Client, charset: str) -> None:
    right = scores(predict(strict, "posts", [LOVELY])[0])
    response = sent(strict, LOVELY.encode(charset.strip('"')), f"text/plain; charset={charset}")
    assert scores(response.json()["predictions"][0]) == pytest.approx(right)
    files = {"file": ("a.txt", LOVELY.encode(charset.strip('"')), f"text/plain; charset={charset}")}
    response = strict.post(POSTS, files=files)
    assert scores(response.json()["predictions"][0]) == pytest.approx(right)


@pytest.mark.parametrize("charset", ["klingon", "idna", "unicode_escape"])
def test_an_unknown_encoding(strict: httpx.Client, charset: str) -> None:
    problem(sent(strict, LOVELY.encode(), f"text/plain; charset={charset}"), 415, "unsupported_charset")
    files = {"file": ("a.txt", LOVELY.encode(), f"text/plain; charset={charset}")}
    problem(strict.post(POSTS, files=files), 415, "unsupported_charset")


def test_text_that_is_not_what_its_charset_says(strict: httpx.Client) -> None:
    problem(sent(strict, b"caf\xe9", "text/plain; charset=us-ascii"), 422, "bad_encoding")
    problem(sent(strict, LOVELY.encode("utf-16-le"), "text/plain"), 422, "not_text")


def test_byte_order_marks(strict: httpx.Client) -> None:
    right = scores(predict(strict, "posts", [LOVELY])[0])
    mark = b"\xef\xbb\xbf"
    document = json.dumps({"inputs": [{"text": LOVELY}]}).encode()
    bodies = [(mark + LOVELY.encode(), "text/plain"), (mark + document, "application/json")]
    bodies.append((json.dumps({"inputs": [{"text": "\ufeff" + LOVELY}]}).encode(), "application/json"))
    for body, kind in bodies:
        assert scores(sent(strict, body, kind).json()["predictions"][0]) == pytest.approx(right)


def test_a_form_field_in_another_encoding_is_refused_alone(strict: httpx.Client) -> None:
    parts = [
        b'--b\r\nContent-Disposition: form-data; name="text"\r\n\r\n' + text for text in (b"caf\xe9", b"caf\xc3\xa9")
    ]
    response = sent(strict, b"\r\n".join([*parts, b"--b--\r\n"]), "multipart/form-data; boundary=b")
    assert codes(response) == ["bad_encoding", None]
    (right,) = predict(strict, "posts", ["café"])
    assert scores(response.json()["predictions"][1]) == pytest.approx(scores(right))
    group = b'--b\r\nContent-Disposition: form-data; name="group"\r\n\r\n\xff'
    problem(
        sent(strict, b"\r\n".join([*parts, group, b"--b--\r\n"]), "multipart/form-data; boundary=b"),
        422,
        "bad_encoding",
    )


def test_half_an_emoji_is_refused_alone(strict: httpx.Client) -> None:
    texts = ['"so nice \\ud83d"', '"\\udc4d\\ud83d"', '"\\ud83d\\udc4d"', '"\\\\ud83d"', '"a\\u0000b"', '"\\u200b"']
    body = '{"inputs": [' + ", ".join(f'{{"text": {text}}}' for text in texts) + "]}"
    response = sent(strict, body.encode(), "application/json")
    assert codes(response) == ["not_text", "not_text", None, None, "not_text", "empty_text"]
    body = '{"inputs": [{"text": "a"}], "group": "\\ud83d"}'
    problem(sent(strict, body.encode(), "application/json"), 422, "invalid_request")
    problem(sent(strict, b'{"inputs": [{"text": "\\ud83d', "application/json"), 400, "malformed_json")


def test_v2_texts_follow_the_same_rules(strict: httpx.Client) -> None:
    tensor = '{"name": "text", "datatype": "BYTES", "shape": [2], "data": ["\\ud83d", "fine"]}'
    response = sent(strict, f'{{"inputs": [{tensor}]}}'.encode(), "application/json", "/v2/models/posts/infer")
    assert "not_text" in response.text and response.status_code == 422
    tensor = tensor.replace("\\ud83d", "\ufefffine")
    response = sent(strict, f'\ufeff{{"inputs": [{tensor}]}}'.encode(), "application/json", "/v2/models/posts/infer")
    first, second = np.reshape(response.json()["outputs"][0]["data"], (2, -1))
    assert first == pytest.approx(second)


@pytest.mark.parametrize(
    "change",
    [
        {"id": "1", "model_name": "posts"},  # KServe's client
        {"id": None, "parameters": None, "outputs": None},  # MLServer's types, written with their nulls
        {"parameters": {"content_type": "str", "headers": None}, "outputs": []},
        {"outputs": [{"name": "scores", "parameters": None}]},
    ],
)
@pytest.mark.parametrize("parameters", [{}, {"parameters": None}, {"parameters": {"content_type": "str"}}])
def test_requests_as_clients_of_other_servers_write_them(
    strict: httpx.Client, change: dict[str, Any], parameters: dict[str, Any]
) -> None:
    tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": [LOVELY]} | parameters
    response = strict.post("/v2/models/posts/infer", json={"inputs": [tensor]} | change)
    assert response.status_code == 200, response.text
    found = next(each["data"] for each in response.json()["outputs"] if each["name"] == "scores")
    assert found == pytest.approx(list(scores(predict(strict, "posts", [LOVELY])[0]).values()))


def test_mixed_batches_of_broken_inputs(strict: httpx.Client) -> None:
    """Forty inputs a request, every fourth one whole: those are answered, and no other has a 5xx."""
    files = mutations.image_files()
    for batch in range(12):
        random = Random(batch)
        images = [picture(1) if n % 4 == 0 else mutations.broken_file(random, files) for n in range(40)]
        texts = ["fine" if n % 4 == 0 else mutations.broken_text(random) for n in range(40)]
        items = [[as_item(each) for each in images], [{"text": each} for each in texts]]
        for path, inputs in zip((FACES, POSTS), items, strict=True):
            response = sent(strict, json.dumps({"inputs": inputs}).encode(), "application/json", path)
            found = response.json()["predictions"]
            assert all("error" not in each for each in found[::4]), response.text
            assert all(each["error"]["status"] < 500 for each in found if "error" in each)
