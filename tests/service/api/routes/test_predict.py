"""Predict over real HTTP: three encodings, options, what an answer says."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import torch

from tests.service.live import as_item, picture, predict, swap
from triggers.model.classifier import FrozenClassifier
from triggers.model.reprogram import reprogram, scores
from triggers.store.file_store import FileStore
from triggers.trigger import TextTrigger

PREDICT = "/v1/models/faces/predict"
PNG = {"Content-Type": "image/png"}


def test_predict_then_swap(service: httpx.Client) -> None:
    bare = predict(service, "faces", [picture(0)])[0]
    assert bare["trigger"] == {"version": None, "digest": None}
    assert swap(service, "faces", "v1").status_code == 200
    triggered = predict(service, "faces", [picture(0)])[0]
    assert triggered["trigger"]["version"] == 1
    assert triggered["scores"] != bare["scores"]
    assert predict(service, "faces", [picture(0)], trigger="none")[0]["scores"] == bare["scores"]


def test_an_answer_says_everything(
    service: httpx.Client, image_model: FrozenClassifier, filled_store: FileStore
) -> None:
    swap(service, "faces", "v2")
    response = service.post(PREDICT, json={"inputs": [as_item(picture(0))]}, headers={"X-Request-Id": "abc-1"})
    body = response.json()
    assert (body["model"], body["model_fingerprint"], body["revision"]) == ("faces", image_model.fingerprint, 1)
    (answer,) = body["predictions"]
    assert set(answer) == {"label", "label_index", "scores", "trigger", "policy", "prediction_id"}
    assert answer["trigger"] == {"version": 2, "digest": filled_store.version("faces", 2).digest}
    assert answer["policy"] == "champion"
    assert set(answer["scores"]) == {"plain", "attractive"} and sum(answer["scores"].values()) == pytest.approx(1)
    assert (
        answer["label"] == max(answer["scores"], key=answer["scores"].get) == image_model.labels[answer["label_index"]]
    )
    assert set(body["timing"]) == {"decode_ms", "queue_ms", "infer_ms", "batch_size"}
    assert body["timing"]["batch_size"] == 1
    assert response.headers["x-request-id"] == "abc-1"
    assert response.headers["server-timing"].startswith("decode;dur=")


def test_a_strange_request_id_is_replaced(service: httpx.Client) -> None:
    ids = {service.get("/healthz", headers={"X-Request-Id": bad}).headers["x-request-id"] for bad in ("a b", "x" * 200)}
    assert len(ids) == 2 and all(len(each) == 32 for each in ids)


@pytest.mark.parametrize("version", [None, 1, 2, 3, 4])
def test_http_answers_equal_the_kernel(
    service: httpx.Client, image_model: FrozenClassifier, filled_store: FileStore, version: int | None
) -> None:
    pictures = [picture(seed) for seed in range(20)]
    trigger = image_model.null_trigger() if version is None else filled_store.get("faces", version).trigger
    items = image_model.batch([image_model.preprocess(data) for data in pictures])
    index = torch.zeros(len(pictures), dtype=torch.int64)
    wanted = scores(reprogram(image_model, items, image_model.bank([trigger]), index))
    answers = predict(service, "faces", pictures, trigger="none" if version is None else f"v{version}")
    got = torch.tensor([list(answer["scores"].values()) for answer in answers])
    torch.testing.assert_close(got, wanted, atol=1e-5, rtol=0)


def test_json_multipart_and_raw_bodies_agree(service: httpx.Client) -> None:
    data = [picture(seed) for seed in range(3)]
    wanted = [answer["scores"] for answer in predict(service, "faces", data, trigger="v1")]
    files = [("image", (f"{n}.png", each)) for n, each in enumerate(data)]
    form = service.post(PREDICT, files=files, data={"trigger": "v1", "group": ["a", "b", ""]}).json()
    raw = [service.post(PREDICT, params={"trigger": "v1"}, content=each, headers=PNG).json() for each in data]
    binary = {"Content-Type": "application/octet-stream"}
    octets = service.post(PREDICT, params={"trigger": "1"}, content=data[0], headers=binary)
    for n in range(3):
        assert form["predictions"][n]["scores"] == pytest.approx(wanted[n], abs=1e-6)
        assert raw[n]["predictions"][0]["scores"] == pytest.approx(wanted[n], abs=1e-6)
    assert octets.json()["predictions"][0]["scores"] == pytest.approx(wanted[0], abs=1e-6)


def test_texts_in_every_encoding(service: httpx.Client) -> None:
    path, text = "/v1/models/posts/predict", "the movie was awful"
    wanted = predict(service, "posts", [text])[0]["scores"]
    answers = [
        service.post(path, content=text, headers={"Content-Type": "text/plain; charset=utf-8"}),
        service.post(path, data={"text": [text, text]}, files={"group": (None, "a")}),
        service.post(path, files={"file": ("post.txt", text.encode())}),
    ]
    assert [len(answer.json()["predictions"]) for answer in answers] == [1, 2, 1]
    for answer in answers:
        assert answer.json()["predictions"][-1]["scores"] == pytest.approx(wanted, abs=1e-6)


def test_a_mixture_of_triggers_in_one_request(service: httpx.Client) -> None:
    swap(service, "faces", "v2")
    data = picture(3)
    choices = ["v1", "none", "v3", None, "v4", "champion"]
    items = [as_item(data, **({"trigger": choice} if choice else {})) for choice in choices]
    mixed = service.post(PREDICT, json={"inputs": items}).json()
    assert [each["trigger"]["version"] for each in mixed["predictions"]] == [1, None, 3, 2, 4, 2]
    assert mixed["timing"]["batch_size"] == 6
    for item, answer in zip(items, mixed["predictions"], strict=True):
        alone = service.post(PREDICT, json={"inputs": [item]}).json()["predictions"][0]
        assert answer["scores"] == pytest.approx(alone["scores"], abs=1e-5)


def test_twin(service: httpx.Client) -> None:
    data = [picture(seed) for seed in range(4)]
    bare = predict(service, "faces", data, trigger="none")
    body = {"inputs": [as_item(each) for each in data], "trigger": "v1", "twin": True}
    answer = service.post(PREDICT, json=body).json()
    assert answer["timing"]["batch_size"] == 8
    for got, alone in zip(answer["predictions"], bare, strict=True):
        twin = got["twin"]
        assert twin["scores"] == pytest.approx(alone["scores"], abs=1e-5)
        assert twin["label"] == alone["label"]
        assert twin["flipped"] == (twin["label"] != got["label"])
    one = service.post(PREDICT, params={"twin": "true"}, content=data[0], headers=PNG).json()
    assert "twin" in one["predictions"][0]


@pytest.mark.parametrize(
    ("query", "body", "item", "there"),
    [
        ("true", False, None, False),
        ("true", None, None, True),
        ("false", True, None, True),
        ("true", True, False, False),
        ("true", False, True, True),
        ("false", None, None, False),
    ],
)
def test_the_nearest_word_on_twins_wins(
    strict: httpx.Client, query: str, body: bool | None, item: bool | None, there: bool
) -> None:
    sent = {"inputs": [as_item(picture(1), twin=item)], "twin": body}
    found = strict.post(PREDICT, params={"twin": query}, json=sent).json()["predictions"][0]
    assert ("twin" in found) is there
    form = strict.post(PREDICT, params={"twin": query}, files={"file": picture(1)}, data={"twin": str(there).lower()})
    assert ("twin" in form.json()["predictions"][0]) is there


def test_a_data_url_is_understood(service: httpx.Client) -> None:
    item = as_item(picture(0))
    answer = service.post(PREDICT, json={"inputs": [{"image": "data:image/png;base64," + item["image"]}]})
    assert answer.status_code == 200


def test_model_list_and_card(service: httpx.Client, text_model: FrozenClassifier) -> None:
    swap(service, "posts", "v1")
    cards: list[dict[str, Any]] = service.get("/v1/models").json()["models"]
    assert [card["name"] for card in cards] == ["faces", "posts"]
    card = service.get("/v1/models/posts").json()
    assert card["fingerprint"] == text_model.fingerprint
    assert card["labels"] == ["civil", "toxic"] and card["pos_label"] == "toxic"
    assert card["preprocessing"] == {"max_tokens": 24} and card["limits"]["tokens"] == 24
    assert card["champion"]["version"] == 1 and card["rollout"]["applied_revision"] == 1


def test_triggers_cards_and_previews(service: httpx.Client, filled_store: FileStore) -> None:
    swap(service, "faces", "v1")
    listed = service.get("/v1/models/faces/triggers").json()["triggers"]
    assert [(each["version"], each["kind"], each["champion"]) for each in listed] == [
        ("v1", "border", True),
        ("v2", "patch", False),
        ("v3", "overlay", False),
        ("v4", "pixels", False),
    ]
    card = service.get("/v1/models/faces/triggers/v1").json()
    assert card["digest"] == listed[0]["digest"] and card["champion"] is True
    assert card["manifest"]["model_fingerprint"] == service.get("/v1/models/faces").json()["fingerprint"]
    image = service.get("/v1/models/faces/triggers/1/preview.png")
    assert image.headers["content-type"] == "image/png" and image.content.startswith(b"\x89PNG")
    assert service.get("/v1/models/posts/triggers/v1/preview.png").json()["code"] == "no_picture"
    words = service.get("/v1/models/posts/triggers/v1").json()["manifest"]["words"]
    tokens = service.get("/v1/models/posts/triggers/v1/tokens").json()
    trigger = filled_store.get("posts", 1).trigger
    assert isinstance(trigger, TextTrigger) and trigger.token_ids
    assert (tokens["digest"], tokens["position"]) == (filled_store.version("posts", 1).digest, trigger.position)
    lengths = [float(norm) for norm in trigger.embeddings.norm(dim=1)]
    rows = zip(words, trigger.token_ids, lengths, strict=True)
    assert [tuple(each.values()) for each in tokens["tokens"]] == list(rows)
    assert service.get("/v1/models/faces/triggers/v1/tokens").json()["code"] == "no_tokens"
