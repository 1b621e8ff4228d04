"""The client against a real service of two tiny models: answers in order, counted once, as the service itself says."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import httpx
import numpy as np
import pandas
import pyarrow
import pytest
from PIL import Image

from fairtrigger.client import AsyncClient, Client, ReplicasBehind, ServiceError
from fairtrigger.model_inputs import ImageInput
from tests.service.live import TOKEN, picture, predict, running, settings
from triggers.errors import ConfigError
from triggers.model.classifier import FrozenClassifier
from triggers.store.file_store import FileStore

TEXTS = ["the good movie", "the bad dog", "a nice house", "cruel man", "the kind city plays"]


def counted(client: Client, model: str) -> int:
    return sum(version["n"] for version in client.fairness(model, "all").document["versions"].values())


def test_images_in_every_form_get_the_services_answers(client: Client, service: httpx.Client, tmp_path: Path) -> None:
    file = picture(3)
    (tmp_path / "face.png").write_bytes(file)
    opened = Image.open(io.BytesIO(file))
    forms: list[ImageInput] = [file, tmp_path / "face.png", str(tmp_path / "face.png"), opened, np.asarray(opened)]
    found = client.predict_images("faces", forms, trigger="v2", twin=True)
    (wanted,) = predict(service, "faces", [file], trigger="v2", twin=True)
    for one in found:
        assert (one.label, one.scores, one.version) == (wanted["label"], wanted["scores"], "v2")
        assert one.digest == wanted["trigger"]["digest"] and one.policy == "pinned" and one.prediction_id
        assert (one.twin_label, one.flipped) == (wanted["twin"]["label"], wanted["twin"]["flipped"])
    assert counted(client, "faces") == 6


def test_a_turned_photograph_is_turned_as_its_file_would_be(client: Client) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", exif=exif)
    file, opened, plain = client.predict_images(
        "faces", [out.getvalue(), Image.open(io.BytesIO(out.getvalue())), pixels]
    )
    assert file.scores == opened.scores != plain.scores


def test_what_cannot_be_used_says_so_in_its_place(client: Client, tmp_path: Path) -> None:
    bad: list[ImageInput] = [b"no image", picture(1), tmp_path / "absent.png", np.zeros((4, 4, 3), np.float32)]
    found = client.predict_images("faces", bad)
    assert [one.error and one.error.code for one in found] == ["not_an_image", None, "unreadable_image", "not_an_image"]
    assert [one.label is None for one in found] == [True, False, True, True]
    (alone,) = client.predict_images("faces", [b"no image"])
    assert alone.error and alone.error.code == "not_an_image" and alone.prediction_id is None
    both = client.predict_texts("posts", ["", "\x00"])
    assert [one.error and one.error.code for one in both] == ["empty_text", "not_text"]
    (number,) = client.predict_texts("posts", [float("nan")])  # type: ignore[list-item]
    assert number.error and number.error.code == "not_text"


def test_what_is_no_list_or_for_another_model_is_refused_before_it_is_sent(client: Client) -> None:
    with pytest.raises(ConfigError, match=r"\[input\]"):
        client.predict_images("faces", np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(ConfigError, match=r"\[input\]"):
        client.predict_texts("posts", "the good movie")
    with pytest.raises(ConfigError, match="a model of images"):
        client.predict_texts("faces", TEXTS)
    with pytest.raises(ConfigError, match="2 groups for 5 inputs"):
        client.predict_texts("posts", iter(TEXTS), groups=["a", "b"])
    with pytest.raises(ConfigError, match="6 keys for 5 inputs"):
        client.predict_texts("posts", TEXTS, keys=["a"] * 6)
    assert counted(client, "posts") == 0


def test_a_problem_is_an_error_with_code_reason_and_remedy(client: Client, service: httpx.Client) -> None:
    with pytest.raises(ServiceError) as found:
        client.predict_texts("nobody", TEXTS)
    assert (found.value.status, found.value.code) == (404, "unknown_model")
    assert "'nobody'" in found.value.reason and client.models() == ["faces", "posts"]
    with Client(str(service.base_url), "wrong") as stranger, pytest.raises(ServiceError) as found:
        stranger.activate("faces", "v1")
    assert (found.value.status, found.value.code) == (401, "token_wrong")
    assert "FAIRTRIGGER_TOKEN" in found.value.remedy and found.value.remedy in str(found.value)
    with pytest.raises(ServiceError) as found:
        client.predict_texts("posts", ["good"], trigger="v99")
    assert found.value.code == "not_found"


def test_the_token_is_taken_from_the_environment(service: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIRTRIGGER_TOKEN", TOKEN)
    with Client(str(service.base_url)) as client:
        assert client.activate("faces", 1).champion == "v1"


def test_more_than_a_request_holds_goes_in_several_in_order(
    tmp_path: Path, filled_store: FileStore, image_model: FrozenClassifier
) -> None:
    chosen = settings(tmp_path, max_items_per_request=3, max_body_bytes=9000, queue_size=64)
    images = [picture(seed, 24) for seed in range(8)] + [picture(99, 60)]
    refused: list[str] = []
    with running(chosen, filled_store, [image_model]) as service, Client(str(service.base_url), TOKEN) as client:

        def note_refusal(answer: httpx.Response) -> None:
            if answer.status_code == 413:
                refused.append(answer.url.path)

        client._http.event_hooks["response"].append(note_refusal)
        found = client.predict_images("faces", images)
        for image, one in zip(images[:-1], found[:-1], strict=True):
            assert one.scores == pytest.approx(predict(service, "faces", [image])[0]["scores"], abs=1e-6)
        assert found[-1].error and found[-1].error.code == "body_too_large"
        assert len({str(one.scores) for one in found}) == 9
        assert counted(client, "faces") == 16
        assert refused == ["/v1/models/faces/predict"]  # the one that no request can hold


def test_images_of_too_many_pixels_in_all_are_sent_in_halves(
    tmp_path: Path, filled_store: FileStore, image_model: FrozenClassifier
) -> None:
    chosen = settings(tmp_path, max_request_pixels=2000, max_pixels=1000)
    images = [picture(seed) for seed in range(7)]  # 576 pixels each: three to a request
    with running(chosen, filled_store, [image_model]) as service, Client(str(service.base_url), TOKEN) as client:
        found = client.predict_images("faces", images)
        assert [one.error for one in found] == [None] * 7
        assert counted(client, "faces") == 7


def test_data_frames_keep_their_rows_and_kind(client: Client) -> None:
    frame = pandas.DataFrame({"words": [*TEXTS, None], "age": [1, 2, None, 1, 2, 1]}, index=list("fedcba"))
    found = client.predict_frame("posts", frame, "words", group="age")
    assert list(found.index) == list("fedcba")
    assert list(found.columns) == [
        "label", "score_civil", "score_toxic", "version", "digest", "prediction_id", "truncated", "error",
    ]  # fmt: skip
    plain = client.predict_texts("posts", TEXTS)
    assert list(found["label"][:5]) == [one.label for one in plain]
    assert np.allclose(found["score_toxic"][:5].astype(float), [one.scores["toxic"] for one in plain], atol=1e-6)
    assert found["label"].isna()["a"] and found["error"]["a"].startswith("not_text: ")
    groups = client.fairness("posts", "all").document["versions"]["bare"]["groups"]
    assert {name: group["n"] for name, group in groups.items()} == {"1": 2, "2": 2, "unknown": 6}
    table = client.predict_frame("posts", pyarrow.table({"words": TEXTS}), "words")
    assert isinstance(table, pyarrow.Table) and table.column("label").to_pylist() == [one.label for one in plain]
    rows = client.predict_frame("posts", [{"words": text} for text in TEXTS], "words", twin=True)
    assert [row["twin_label"] for row in rows] == [row["label"] for row in rows]
    with pytest.raises(ConfigError, match="no column 'wrds'; it has words, age"):
        client.predict_frame("posts", frame, "wrds")


def test_feedback_and_observations_count_once(client: Client) -> None:
    answers = client.predict_texts("posts", TEXTS, groups=["a", "b", "a", "b", None])
    ids = [one.prediction_id for one in answers if one.prediction_id]
    labels = np.array([0, 1, 0, 1, 0])
    assert [one.status for one in client.feedback("posts", ids, labels)] == ["counted"] * 5
    again = client.feedback("posts", [*ids, "forged"], ["civil", "toxic", "civil", "toxic", "toxic", "civil"])
    assert [one.status for one in again] == ["unchanged"] * 4 + ["corrected", "refused"]
    assert again[-1].error and again[-1].error.code == "invalid_prediction_id"
    assert [one.status for one in client.feedback("posts", ids[4:], groups="b")] == ["counted"]
    told = [{"observation_id": str(n), "version": None, "prediction": 1, "group": "c"} for n in range(3)]
    first, second = client.observe("posts", told), client.observe("posts", told)
    assert [one.status for one in first + second] == ["counted"] * 3 + ["counted_before"] * 3
    assert [one.prediction_id for one in first] == [one.prediction_id for one in second]
    report = client.fairness("posts", "all").document["versions"]["bare"]
    assert (report["n"], report["labelled"]) == (8, 5)
    with pytest.raises(ConfigError, match="2 labels for 5 predictions"):
        client.feedback("posts", ids, [1, 0])


def test_fairness_is_a_frame_of_every_figure(client: Client, service: httpx.Client) -> None:
    for group in ("age=old,sex=f", "age=old,sex=m"):
        answers = client.predict_texts("posts", TEXTS, groups=group, trigger="v1")
        client.feedback("posts", [one.prediction_id or "" for one in answers], [1, 0, 1, 0, 1])
    found = client.fairness("posts", "all")
    frame = found.frame()
    assert list(frame.columns) == [
        "version", "shadow", "attribute", "group", "figure", "value", "low", "high", "n", "reason",
    ]  # fmt: skip
    document = found.document["versions"]["v1"]
    gap = frame[(frame.figure == "demographic_parity_difference") & (frame.attribute == "")]
    assert gap.value.item() == document["gaps"]["demographic_parity_difference"]["value"]
    rate = frame[(frame.figure == "selection_rate") & (frame.group == "age=old,sex=f") & (frame.attribute == "")]
    assert rate.low.item() == document["groups"]["age=old,sex=f"]["selection_rate"]["low"] and rate.n.item() == 5
    assert frame.version.unique().tolist() == ["v1"]
    assert len(frame) == len(found.rows())
    with Client(str(service.base_url), "") as anybody:
        assert len(anybody.fairness("posts", "all").rows()) == len(frame)


def test_a_rollout_is_decided_followed_and_taken_back(client: Client) -> None:
    assert client.rollout("faces").champion == "none"
    state = client.activate("faces", "v2", reason="fairer")
    assert (state.champion, state.reason, state.revision) == ("v2", "fairer", 1)
    assert state.replicas and [one.revision for one in state.replicas] == [1]
    assert client.predict_images("faces", [picture(1)])[0].version == "v2"
    state = client.canary("faces", 3, share=1.0)
    assert (state.champion, state.challenger, state.challenger_share) == ("v2", "v3", 1.0)
    assert client.predict_images("faces", [picture(1)], keys="me")[0].policy == "challenger"
    assert client.canary("faces", "off").challenger is None
    assert client.rollback("faces", reason="back").challenger == "v3"
    assert client.activate("faces", "none").champion == "none"
    with pytest.raises(ServiceError) as found:
        client.activate("faces", "v77")
    assert found.value.code == "not_found"


def test_replicas_that_do_not_follow_are_named(client: Client, filled_store: FileStore) -> None:
    from triggers.store.store import Replica

    late = Replica("late", 0, None, None, None, "2026-11-30T00:00:00Z")
    filled_store.report("faces", late, ttl_seconds=60)
    with pytest.raises(ReplicasBehind, match="late") as found:
        client.activate("faces", "v1", wait=0.5)
    assert found.value.behind == {"late": ""} and found.value.code == "replicas_behind"
    assert client.rollout("faces").champion == "v1"
    assert client.activate("faces", "v2", wait=0).champion == "v2"


def test_the_async_client_does_the_same(service: httpx.Client) -> None:
    async def ask() -> None:
        async with AsyncClient(str(service.base_url), TOKEN) as client:
            state = await client.activate("posts", "v1")
            some, more = await asyncio.gather(
                client.predict_texts("posts", TEXTS), client.predict_images("faces", [picture(1)])
            )
            assert state.champion == "v1" and {one.version for one in some} == {"v1"} and more[0].version == "none"
            ids = [one.prediction_id for one in some if one.prediction_id]
            assert {one.status for one in await client.feedback("posts", ids, [0] * 5)} == {"counted"}
            frame = await client.predict_frame("posts", pandas.DataFrame({"words": TEXTS}), "words")
            assert frame["label"].tolist() == [one.label for one in some]
            assert (await client.fairness("posts", "all")).document["versions"]["v1"]["n"] == 10
            with pytest.raises(ServiceError, match="nobody"):
                await client.rollout("nobody")

    asyncio.run(ask())


def test_sync_and_async_have_the_same_methods() -> None:
    public = {name for name in vars(Client) if not name.startswith("_")}
    assert len(public) > 10
    assert public == {name for name in vars(AsyncClient) if not name.startswith("_")}
