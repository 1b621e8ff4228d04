"""Texts go to an address as they are written, with words before or behind them; labels come back by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.endpoints.exactness import largest_difference
from tests.endpoints.http_server import Asked, Reply, http_endpoint
from tests.endpoints.local_outputs import text_outputs
from tests.endpoints.text_servers import TEXT_SERVERS, tei_server
from tests.endpoints.v2_faces import (
    v2_over_grpc,
    v2_over_http,
)
from tests.endpoints.v2_server import V2Model
from tests.endpoints.wrapping import EXACT, loader_of, wrapped
from triggers.errors import InputError, ModelError
from triggers.model import FrozenClassifier, sweep
from triggers.model.reprogram import reprogram
from triggers.sources import WrapOptions, read_source
from triggers.sources.builtin_inputs import builtin_texts
from triggers.trigger import TextTrigger

LONG = ["é" * 300 + " 👍🏽 日本語 \u202eabc", "a\tb\r\nc \\ \" ' {}", "x"]


@pytest.mark.parametrize("protocol", TEXT_SERVERS)
def test_labels_are_those_that_texts_endpoints_name_in_any_order(
    protocol: str, text_model: FrozenClassifier, tmp_path: Path
) -> None:
    with http_endpoint(TEXT_SERVERS[protocol](text_model)) as server:
        options = WrapOptions(protocol=protocol)
        bundle, spec = wrapped(f"{server.base}/predict", options, tmp_path / "bundle")
        assert spec.labels == ("civil", "toxic") and "names its scores" in spec.origin["labels"]
        assert largest_difference(bundle, text_model, [*builtin_texts(9), *LONG]) <= EXACT
        turned, other = wrapped(f"{server.base}/predict", replace(options, labels=("toxic", "civil")), tmp_path / "b")
        assert other.labels == loader_of(turned).columns == ("toxic", "civil")
        assert turned.fingerprint != bundle.fingerprint
        with pytest.raises(ModelError, match=r"names its scores civil, toxic, --labels good, bad"):
            read_source(server.base, replace(options, labels=("good", "bad")))


@pytest.mark.parametrize("position", ["after_cls", "before_sep"])
def test_words_stand_before_or_behind_any_text(position: str, text_model: FrozenClassifier, tmp_path: Path) -> None:
    with http_endpoint(tei_server(text_model)) as server:
        bundle, _spec = wrapped(server.base, WrapOptions(protocol="tei"), tmp_path / "bundle")
        trigger = TextTrigger("hard", position, torch.zeros(2, 0), (1, 2), ("good", "movie"))  # type: ignore[arg-type]
        bank = bundle.bank([trigger, bundle.null_trigger()])
        server.asked.clear()
        texts = [*LONG, *LONG]
        batch = bundle.batch([bundle.preprocess(each) for each in texts])
        reprogram(bundle, batch, bank, torch.tensor([0, 0, 0, 1, 1, 1]))
        sent = [text for (text,) in server.asked[0].json["inputs"]]
        with_words = [f"good movie {each}" if position == "after_cls" else f"{each} good movie" for each in LONG]
        assert sent == [*with_words, *LONG]


def test_a_long_text_is_cut_between_characters_and_an_empty_one_refused(
    text_model: FrozenClassifier, tmp_path: Path
) -> None:
    with http_endpoint(tei_server(text_model)) as server:
        options = WrapOptions(protocol="tei", max_tokens=2001)
        bundle, spec = wrapped(server.base, options, tmp_path / "bundle")
        assert "cut at 2,001 bytes" in spec.origin["text"]
        item = bundle.preprocess("é" * 1500)
        assert item.truncated  # type: ignore[union-attr]
        assert not bundle.preprocess("é" * 1000).truncated  # type: ignore[union-attr]
        server.asked.clear()
        sweep(bundle, bundle.batch([item]), bundle.bank([bundle.null_trigger()]))
        assert server.asked[0].json["inputs"] == [["é" * 1000]]
        for empty in ("", " \u200b", "a\0b"):
            with pytest.raises(InputError):
                bundle.preprocess(empty)


def test_texts_travel_as_bytes_over_v2(text_model: FrozenClassifier, tmp_path: Path) -> None:
    def run(elements: NDArray[Any]) -> Sequence[NDArray[Any]]:
        return [text_outputs(text_model, [each.decode() for each in elements.ravel()])]

    model = V2Model(run, [("text", "BYTES", (-1,))], [("logits", "FP32", (-1, 2))])
    for serve, folder in ((v2_over_http, "http"), (v2_over_grpc, "grpc")):
        with serve(model) as url:
            bundle, _spec = wrapped(url, WrapOptions(labels=("civil", "toxic")), tmp_path / folder)
            assert largest_difference(bundle, text_model, [*builtin_texts(9), *LONG]) <= EXACT


def test_moderation_scores_are_independent_and_one_of_them_counts(text_model: FrozenClassifier, tmp_path: Path) -> None:
    names = ("hate", "hate/threatening", "violence")

    def answer(asked: Asked) -> Reply:
        assert asked.json["model"] == "omni-moderation-latest"
        assert asked.headers["authorization"] == "Bearer s3cret"
        chances = 1 / (1 + np.exp(-text_outputs(text_model, asked.json["input"])))
        rows = [dict(zip(names, (p, p * q, q), strict=True)) for p, q in chances.tolist()]
        return Reply.of_json({"id": "modr-1", "results": [{"flagged": False, "category_scores": row} for row in rows]})

    (tmp_path / "token").write_text("s3cret\n")
    options = WrapOptions(
        protocol="openai-moderation", endpoint={"credentials": {"file": str(tmp_path / "token")}}, label="violence"
    )
    with http_endpoint(answer) as server:
        with pytest.raises(ModelError, match=r"choose one, --label hate \| hate/threatening \| violence"):
            read_source(server.base, replace(options, label=None))
        bundle, spec = wrapped(f"{server.base}/v1/moderations", options, tmp_path / "bundle")
        assert spec.labels == ("not violence", "violence")
        assert "s3cret" not in (tmp_path / "bundle" / "model.json").read_text()
        batch = bundle.batch([bundle.preprocess(each) for each in LONG])
        found = sweep(bundle, batch, bundle.bank([bundle.null_trigger()]))[0]
        expected = 1 / (1 + np.exp(-text_outputs(text_model, LONG)[:, 1]))
        assert np.abs(found.softmax(dim=1)[:, 1].numpy() - expected).max() <= EXACT
