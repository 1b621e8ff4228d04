"""A decoder behind real HTTP: a text gets the answer of its token ids alone, whatever others share its batch."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from tests.artifacts import artifact_for
from tests.service.live import ADMIN, predict, running, settings
from tests.text_families import DECODERS, family_bundle, odd_texts
from triggers.model import load_bundle
from triggers.store.file_store import FileStore

CLIENTS, REQUESTS, TEXTS = 8, 8, 200


def test_eight_clients_with_random_companions_get_the_answers_of_each_text_alone(tmp_path: Path) -> None:
    classifier = load_bundle(family_bundle(tmp_path / "model", DECODERS["gpt2"]))
    texts = odd_texts(TEXTS)
    with torch.no_grad():
        alone = [classifier.network(**classifier.tokenizer(text, return_tensors="pt")).logits[0] for text in texts]
    wanted = [torch.softmax(logits, dim=0)[1].item() for logits in alone]
    assert 20 < sum(score > 0.5 for score in wanted) < TEXTS - 20
    with FileStore(tmp_path / "store") as store:
        version = store.publish(artifact_for(classifier, "hard"), actor="test")
        with running(settings(tmp_path), store, [classifier]) as client:

            def ask(seed: int) -> int:
                """Texts that were answered; every other request asks for half of its rows under a trigger."""
                drawn = random.Random(seed)
                asked = 0
                for _ in range(REQUESTS):
                    rows = drawn.sample(range(TEXTS), drawn.randint(1, 12))
                    answers = predict(client, "posts", [texts[row] for row in rows], trigger="none")
                    for row, answer in zip(rows, answers, strict=True):
                        assert abs(answer["scores"]["toxic"] - wanted[row]) < 1e-5
                        assert answer["label"] == ("toxic" if wanted[row] > 0.5 else "civil")
                    asked += len(rows)
                    body = {"inputs": [{"text": texts[row]} for row in rows[:3]], "trigger": f"v{version}"}
                    assert client.post("/v1/models/posts/predict", json=body, headers=ADMIN).status_code == 200
                return asked

            with ThreadPoolExecutor(CLIENTS) as pool:
                assert sum(pool.map(ask, range(CLIENTS))) > 100
