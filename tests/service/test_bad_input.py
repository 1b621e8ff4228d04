"""Every bad input is a problem document that says what is wrong; the service and the neighbours go on."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.artifacts import artifact_for
from tests.bundles import MAX_TOKENS
from tests.service.live import ADMIN, as_item, picture, predict, running, settings
from triggers.classifier import FrozenClassifier
from triggers.file_store import FileStore

PREDICT = "/v1/models/faces/predict"
ROLLOUT = "/v1/models/faces/rollout"
MAX_BODY = 300_000


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory, image_model: FrozenClassifier, text_model: FrozenClassifier
) -> Iterator[httpx.Client]:
    tmp: Path = tmp_path_factory.mktemp("service")
    with FileStore(tmp / "store") as store:
        store.publish(artifact_for(image_model, "border"), actor="test")
        chosen = settings(tmp, max_body_bytes=MAX_BODY, max_items_per_request=40, max_text_chars=5000)
        with running(chosen, store, [image_model, text_model]) as client:
            yield client


def problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Check that a response is this problem, and that the service still answers afterwards."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert "x-request-id" in response.headers
    document: dict[str, Any] = response.json()
    assert (document["status"], document["code"]) == (status, code), document
    assert document["type"] == f"urn:fairtrigger:problem:{code}"
    assert document["error"] == document["detail"] and len(document["detail"]) > 10
    assert "Traceback" not in response.text
    base = response.request.url.copy_with(path="/v1/models/faces/predict", query=None)
    again = httpx.post(base, content=picture(1), headers={"Content-Type": "image/png"})
    assert again.status_code == 200
    return document


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
def test_bad_images(service: httpx.Client, code: str, encoding: str) -> None:
    data, status = BAD_IMAGES[code]
    if encoding == "json":
        response = service.post(PREDICT, json={"inputs": [as_item(data)]})
    elif encoding == "raw":
        response = service.post(PREDICT, content=data, headers={"Content-Type": "image/png"})
    else:
        response = service.post(PREDICT, files={"image": ("x.png", data)})
    problem(response, status, code)


@pytest.mark.parametrize("body", [b"", b"{", b'{"inputs": [', b"\xff\xfe"])
def test_malformed_json(service: httpx.Client, body: bytes) -> None:
    response = service.post(PREDICT, content=body, headers={"Content-Type": "application/json"})
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
def test_wrong_fields(service: httpx.Client, body: Any, where: str) -> None:
    document = problem(service.post(PREDICT, json=body), 422, "invalid_request")
    assert where.split(".")[0] in document["detail"] or where == "body"
    assert document["errors"]


@pytest.mark.parametrize("query", [{"trigger": "latest"}, {"twin": "perhaps"}, {"group": ""}])
def test_wrong_query(service: httpx.Client, query: dict[str, str]) -> None:
    response = service.post(PREDICT, content=picture(0), params=query, headers={"Content-Type": "image/png"})
    problem(response, 422, "invalid_request")


@pytest.mark.parametrize("mode", ["I;16", "P", "L", "RGBA", "CMYK"])
def test_unusual_images_are_served(service: httpx.Client, mode: str) -> None:
    grey = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
    image = Image.fromarray(np.arange(256, dtype=np.uint16).reshape(16, 16) * 257) if mode == "I;16" else None
    out = io.BytesIO()
    (image or grey.convert(mode)).save(out, format="JPEG" if mode == "CMYK" else "PNG")
    assert predict(service, "faces", [out.getvalue()])[0]["label"] in ("plain", "attractive")


def test_bad_base64(service: httpx.Client) -> None:
    problem(service.post(PREDICT, json={"inputs": [{"image": "***"}]}), 422, "bad_base64")


@pytest.mark.parametrize("text", ["", "   \n"])
def test_empty_text(service: httpx.Client, text: str) -> None:
    problem(service.post("/v1/models/posts/predict", json={"inputs": [{"text": text}]}), 422, "empty_text")


def test_a_long_text_is_cut_and_says_so(service: httpx.Client) -> None:
    cut, whole = predict(service, "posts", ["awful movie " * 300, "awful movie"])
    assert cut["truncated"] is True and "truncated" not in whole
    exactly = " ".join(["movie"] * (MAX_TOKENS - 2))
    fits, over = predict(service, "posts", [exactly, exactly + " movie"])
    assert "truncated" not in fits and over["truncated"] is True
    assert over["scores"] == pytest.approx(fits["scores"], abs=1e-5)


def test_a_text_that_is_far_too_long(service: httpx.Client) -> None:
    problem(service.post("/v1/models/posts/predict", json={"inputs": [{"text": "a " * 3000}]}), 413, "text_too_large")


def test_text_that_is_not_utf_8(service: httpx.Client) -> None:
    response = service.post("/v1/models/posts/predict", content=b"\xff\xff", headers={"Content-Type": "text/plain"})
    problem(response, 422, "bad_encoding")


def test_wrong_modality(service: httpx.Client) -> None:
    problem(service.post(PREDICT, json={"inputs": [{"text": "hello"}]}), 422, "wrong_modality")
    response = service.post("/v1/models/posts/predict", content=picture(0), headers={"Content-Type": "image/png"})
    problem(response, 422, "wrong_modality")


def test_unknown_media_type(service: httpx.Client) -> None:
    response = service.post(PREDICT, content=b"<x/>", headers={"Content-Type": "application/xml"})
    assert "application/json" in problem(response, 415, "unsupported_media_type")["detail"]
    problem(service.post(PREDICT, content=b"x"), 415, "unsupported_media_type")


@pytest.mark.parametrize("encoding", ["json", "multipart"])
def test_too_many_items(service: httpx.Client, encoding: str) -> None:
    tiny = picture(0, 4)
    if encoding == "json":
        response = service.post(PREDICT, json={"inputs": [as_item(tiny)] * 41})
    else:
        response = service.post(PREDICT, files=[("image", ("x.png", tiny))] * 41)
    problem(response, 413, "too_many_items")


def test_far_too_many_form_parts(service: httpx.Client) -> None:
    response = service.post(PREDICT, files=[("image", ("x.png", b"x"))] * 200)
    problem(response, 400, "malformed_request")


def test_broken_multipart(service: httpx.Client) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    problem(service.post(PREDICT, content=b"no boundary here", headers=headers), 400, "malformed_request")
    problem(
        service.post(PREDICT, content=b"x", headers={"Content-Type": "multipart/form-data"}), 400, "malformed_request"
    )
    problem(service.post(PREDICT, data={"group": "a"}, files={}, headers=headers), 400, "malformed_request")


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
def test_wrong_form_fields(service: httpx.Client, fields: dict[str, Any], code: str) -> None:
    problem(service.post(PREDICT, files={"image": ("x.png", picture(0))}, data=fields), 422, code)


@pytest.mark.parametrize("path", [PREDICT, "/v1/models/faces/feedback", "/nowhere"])
def test_body_over_the_limit_by_its_stated_length(service: httpx.Client, path: str) -> None:
    problem(service.post(path, content=b"x" * (MAX_BODY + 1)), 413, "body_too_large")


@pytest.mark.parametrize("media", ["application/json", "image/png", "multipart/form-data; boundary=b"])
@pytest.mark.parametrize("path", [PREDICT, "/v1/models/faces/feedback"])
def test_chunked_body_over_the_limit(service: httpx.Client, path: str, media: str) -> None:
    def chunks() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="i"; filename="x"\r\n\r\n'
        for _ in range(50):
            yield b"x" * 10_000

    response = service.post(path, content=chunks(), headers={"Content-Type": media})
    problem(response, 413, "body_too_large")


def test_unknown_addresses(service: httpx.Client) -> None:
    problem(service.post("/v1/models/nobody/predict", json={}), 404, "unknown_model")
    problem(service.get("/v1/models/nobody/rollout"), 404, "unknown_model")
    problem(service.get("/v1/nothing"), 404, "not_found")
    assert "POST" in problem(service.get(PREDICT), 405, "method_not_allowed")["detail"]


def test_unknown_version(service: httpx.Client) -> None:
    problem(service.post(PREDICT, json={"inputs": [as_item(picture(0))], "trigger": "v99"}), 404, "not_found")
    problem(service.get("/v1/models/faces/triggers/v99"), 404, "not_found")
    problem(service.get("/v1/models/faces/triggers/v99/preview.png"), 404, "not_found")
    problem(service.get("/v1/models/faces/triggers/x"), 422, "invalid_request")
    headers = ADMIN | {"If-Match": service.get(ROLLOUT).headers["etag"]}
    problem(service.put(ROLLOUT, json={"champion": "v99"}, headers=headers), 404, "not_found")


@pytest.mark.parametrize("method", ["put", "rollback"])
def test_admin_token_and_if_match(service: httpx.Client, method: str) -> None:
    def change(headers: dict[str, str]) -> httpx.Response:
        if method == "put":
            return service.put(ROLLOUT, json={"champion": "v1"}, headers=headers)
        return service.post(f"{ROLLOUT}/rollback", headers=headers)

    etag = service.get(ROLLOUT).headers["etag"]
    missing = change({"If-Match": etag})
    problem(missing, 401, "token_missing")
    assert missing.headers["www-authenticate"].startswith("Bearer")
    problem(change({"If-Match": etag, "Authorization": "Bearer wrong-token"}), 401, "token_wrong")
    problem(change({"If-Match": etag, "Authorization": "Basic dTpw"}), 401, "token_missing")
    problem(change(ADMIN), 428, "if_match_missing")
    for stale in ('"12345"', "nonsense", "*", '"-1"'):
        problem(change(ADMIN | {"If-Match": stale}), 412, "revision_conflict")
    assert service.get(ROLLOUT).headers["etag"] == etag


@pytest.mark.parametrize("body", [{}, {"champion": 1}, {"champion": "one"}, {"champion": None, "extra": 1}, []])
def test_wrong_rollout(service: httpx.Client, body: Any) -> None:
    headers = ADMIN | {"If-Match": service.get(ROLLOUT).headers["etag"]}
    problem(service.put(ROLLOUT, json=body, headers=headers), 422, "invalid_request")


@pytest.mark.parametrize("forged", ["x", "A" * 90, "äöü", "flipped", "foreign"])
def test_forged_prediction_id(service: httpx.Client, forged: str) -> None:
    prediction_id = predict(service, "faces", [picture(0)])[0]["prediction_id"]
    if forged == "flipped":
        forged = prediction_id[:-5] + ("A" if prediction_id[-5] != "A" else "B") + prediction_id[-4:]
    model = "posts" if forged == "foreign" else "faces"
    given = prediction_id if forged == "foreign" else forged
    response = service.post(f"/v1/models/{model}/feedback", json={"prediction_id": given, "label": 1})
    problem(response, 422, "invalid_prediction_id")


@pytest.mark.parametrize("label", ["handsome", 2, -1])
def test_unknown_label(service: httpx.Client, label: Any) -> None:
    prediction_id = predict(service, "faces", [picture(0)])[0]["prediction_id"]
    response = service.post("/v1/models/faces/feedback", json={"prediction_id": prediction_id, "label": label})
    problem(response, 422, "unknown_label")


def test_wrong_statistics_parameters(service: httpx.Client) -> None:
    problem(service.get("/v1/models/faces/fairness", params={"window": "3h"}), 422, "unknown_window")
    problem(service.get("/v1/models/faces/fairness", params={"by": "moon"}), 422, "unknown_by")


def test_one_bad_item_among_many_gets_its_own_error(service: httpx.Client) -> None:
    good = [picture(seed) for seed in range(31)]
    expected = predict(service, "faces", good)
    for code, (data, status) in BAD_IMAGES.items():
        mixed = predict(service, "faces", [*good[:15], data, *good[15:]])
        assert (mixed[15]["error"]["code"], mixed[15]["error"]["status"]) == (code, status)
        for answer, alone in zip(mixed[:15] + mixed[16:], expected, strict=True):
            assert answer["scores"] == pytest.approx(alone["scores"], abs=1e-5)


def test_only_bad_items(service: httpx.Client) -> None:
    response = service.post(PREDICT, json={"inputs": [{"image": "QQ=="}, {"image": "***"}]})
    document = problem(response, 422, "no_usable_input")
    assert [each["code"] for each in document["errors"]] == ["not_an_image", "bad_base64"]


def test_bad_requests_beside_good_ones_from_many_clients(service: httpx.Client) -> None:
    good = picture(7)
    expected = predict(service, "faces", [good])[0]["scores"]

    def send(number: int) -> httpx.Response:
        data = list(BAD_IMAGES.values())[number % 4][0] if number % 8 == 0 else good
        return service.post(PREDICT, content=data, headers={"Content-Type": "image/png"})

    with ThreadPoolExecutor(16) as clients:
        answers = list(clients.map(send, range(320)))
    for number, answer in enumerate(answers):
        if number % 8 == 0:
            assert answer.status_code in (413, 422)
        else:
            assert answer.json()["predictions"][0]["scores"] == pytest.approx(expected, abs=1e-5)
