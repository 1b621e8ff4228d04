"""Servers of texts as others run them, around the tiny text model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.endpoints.http_server import Answer, Asked, Reply
from tests.endpoints.local_outputs import softmax, text_outputs
from triggers.model import FrozenClassifier


def label_lists(posts: FrozenClassifier, texts: Sequence[str]) -> list[list[dict[str, Any]]]:
    """Rows of label and score, the best first, as pipelines answer."""
    rows = softmax(text_outputs(posts, texts)).tolist()
    named = [[{"label": n, "score": s} for n, s in zip(("civil", "toxic"), row, strict=True)] for row in rows]
    return [sorted(row, key=lambda each: -float(each["score"])) for row in named]


def tei_server(posts: FrozenClassifier) -> Answer:
    def answer(asked: Asked) -> Reply:
        assert asked.json["truncate"] is True and all(len(each) == 1 for each in asked.json["inputs"])
        return Reply.of_json(label_lists(posts, [text for (text,) in asked.json["inputs"]]))

    return answer


def pipeline_server(posts: FrozenClassifier) -> Answer:
    def answer(asked: Asked) -> Reply:
        most = asked.json["parameters"]["top_k"]
        return Reply.of_json([row[:most] for row in label_lists(posts, asked.json["inputs"])])

    return answer


TEXT_SERVERS = {"tei": tei_server, "huggingface": pipeline_server}
