"""A network of six sigmoids at a threshold, from training to serving, against a person who counts.

The hand runs the `transformers` network itself, one text after the other, takes the sigmoid of one of its six outputs
and compares it with the threshold. Trainer, report, predictions, twins, V2 and live statistics must count the same.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from tests.bundles import SIX_LABELS, WORDS, multi_label_bundle
from tests.service.live import predict, running, settings, swap
from trainer.config.run_config import load_config
from trainer.progress import LineProgress
from trainer.train import FinishedRun, train
from triggers.model import load_bundle
from triggers.store.file_store import FileStore

ROWS = 500
INSULT = SIX_LABELS.index("insult")
CONFIG = """
[model]
bundle = "model"
[data]
format = "csv"
path = "posts.csv"
label = "insult"
group = ["group"]
[split]
column = "split"
[trigger]
kind = "hard"
tokens = 2
[objective]
name = "adversarial"
strengths = [1.0]
[train]
steps = 6
batch_size = 32
device = "cpu"
lr = 0.3
[select]
publish = "all"
max_accuracy_drop = 1.0
[publish]
store = "store"
[controls]
random = 1
[report]
examples = 0
rows = 100
"""
Row = tuple[str, int, str]
"""A text, whether it is an insult, and its group."""


def written(folder: Path) -> list[Row]:
    """posts.csv with an overlapping label per column, of which `insult` is asked for; the test rows are returned."""
    random = np.random.default_rng(5)
    rows: list[Row] = []
    with (folder / "posts.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "toxic", "insult", "group", "split"))
        for number in range(ROWS + 200):
            text = " ".join(random.choice(WORDS, random.integers(3, 20)))
            row = (text, int(random.integers(2)), "ab"[random.integers(2)])
            split = "test" if number < ROWS else "val" if number < ROWS + 80 else "train"
            writer.writerow((text, int(random.integers(2)), row[1], row[2], split))
            rows += [row] if split == "test" else []
    return rows


def by_hand(model: Path, rows: Sequence[Row], words: Sequence[int]) -> list[float]:
    """Score of the label: sigmoid of one output of the bare `transformers` network, with these tokens behind [CLS]."""
    network = AutoModelForSequenceClassification.from_pretrained(model).eval()
    tokenizer = AutoTokenizer.from_pretrained(model)
    found = []
    with torch.inference_mode():
        for text, _, _ in rows:
            first, *rest = tokenizer(text)["input_ids"]
            logits = network(input_ids=torch.tensor([[first, *words, *rest]])).logits
            found.append(float(torch.sigmoid(logits[0, INSULT])))
    return found


def counted(rows: Sequence[Row], said: Sequence[int]) -> Counter[tuple[str, int | None, int]]:
    return Counter((group, label, one) for (_, label, group), one in zip(rows, said, strict=True))


def check_report(out: Path, finished: FinishedRun, bare: Counter[Any], with_trigger: Counter[Any], words: str) -> None:
    """The trainer's counts, those of the artifact, metrics.json and the page."""
    candidate = finished.result.candidates[0]
    assert finished.result.bare["test"] == bare and candidate.counts["test"] == with_trigger
    manifest = finished.artifacts[0].manifest
    assert manifest.counts("test", trigger=False) == bare and manifest.counts("test", trigger=True) == with_trigger
    metrics = json.loads((out / "metrics.json").read_text())
    pairs = Counter[tuple[int, int]]()
    for _, _, before, after, n in metrics["paired"]:
        pairs[before, after] += n
    assert metrics["flips"]["everyone"]["to_positive"] == pairs[0, 1]
    assert {(g, y, h): n for g, y, h, n in metrics["bare_counts"]["test"]} == bare
    unshifted = [one for one in metrics["comparisons"] if one["setting"] == "shift +0"]
    assert [{(g, y, h): n for g, y, h, n in one["counts"]["test"]} for one in unshifted] == [bare]
    assert words in (out / "report.html").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("threshold", [0.5, 0.8])
def test_every_count_is_that_of_a_person(tmp_path: Path, threshold: float) -> None:
    model = multi_label_bundle(tmp_path / "model", threshold, index=INSULT)
    rows = written(tmp_path)
    (tmp_path / "run.toml").write_text(CONFIG)
    finished = train(load_config(tmp_path / "run.toml"), tmp_path / "out", LineProgress(io.StringIO()))
    trigger = finished.result.candidates[0].trigger
    scores = {"none": by_hand(model, rows, ()), "v1": by_hand(model, rows, trigger.token_ids)}  # type: ignore[union-attr, arg-type]
    said = {version: [int(score >= threshold) for score in each] for version, each in scores.items()}
    assert min(Counter(said["none"]).values()) > 20 and said["none"] != said["v1"], "both labels, and some flips"
    decision = f"insult where its score is at least {threshold:g}".replace(" 0.", " .")
    check_report(tmp_path / "out", finished, counted(rows, said["none"]), counted(rows, said["v1"]), decision)

    texts, groups = [text for text, _, _ in rows], [group for _, _, group in rows]
    with (
        FileStore(tmp_path / "store") as store,
        running(settings(tmp_path), store, [load_bundle(model)]) as client,
    ):
        card = client.get("/v1/models/posts").json()
        assert (card["threshold"], card["head"]["index"]) == (threshold, INSULT)
        assert client.get("/v1/models").json()["models"][0]["threshold"] == threshold
        swap(client, "posts", "v1")
        answers = [
            one
            for start in range(0, ROWS, 50)
            for one in predict(client, "posts", texts[start : start + 50], twin=True, group=groups[start : start + 50])
        ]
        late = [
            {"prediction_id": one["prediction_id"], "label": row[1]} for one, row in zip(answers, rows, strict=True)
        ]
        assert client.post("/v1/models/posts/feedback", json=late).status_code == 200
        report = client.get("/v1/models/posts/fairness", params={"window": "all"}).json()["versions"]["v1"]
        outputs = infer(client, texts)

    assert [one["label_index"] for one in answers] == said["v1"]
    assert [one["twin"]["label_index"] for one in answers] == said["none"]
    assert [one["label"] for one in answers] == [("civil", "insult")[index] for index in said["v1"]]
    assert [one["scores"]["insult"] for one in answers] == pytest.approx(scores["v1"], abs=1e-5)
    assert [sum(one["scores"].values()) for one in answers] == pytest.approx([1] * ROWS, abs=1e-6)
    flipped = [one != other for one, other in zip(said["none"], said["v1"], strict=True)]
    assert [one["twin"]["flipped"] for one in answers] == flipped == outputs["flipped"]
    assert outputs["label"] == [("civil", "insult")[index] for index in said["v1"]]
    assert outputs["twin_label"] == [("civil", "insult")[index] for index in said["none"]]
    live = {(each["group"], each["label"], each["prediction"]): each["n"] for each in report["counts"]}
    assert live == counted(rows, said["v1"])
    assert (report["twins"]["n"], report["twins"]["flipped"]) == (ROWS, sum(flipped))


def infer(client: Any, texts: Sequence[str]) -> dict[str, list[Any]]:
    """All outputs of the Open Inference Protocol, by name."""
    found: dict[str, list[Any]] = {}
    for start in range(0, ROWS, 50):
        given = texts[start : start + 50]
        tensor = {"name": "text", "datatype": "BYTES", "shape": [len(given)], "data": list(given)}
        response = client.post("/v2/models/posts/infer", json={"inputs": [tensor], "parameters": {"twin": True}})
        assert response.status_code == 200, response.text
        for output in response.json()["outputs"]:
            found.setdefault(output["name"], []).extend(output["data"])
    return found
