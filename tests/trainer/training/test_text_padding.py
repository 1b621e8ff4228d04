"""Training under every padding: what is counted for a trigger is what the network says to the same words, typed."""

from __future__ import annotations

import io
import random
from collections import Counter
from pathlib import Path

import pytest
import torch

from tests.text_families import DECODERS, ENCODERS, family_bundle, odd_texts
from tests.trainer.runs import run_config
from trainer.config.run_config import ObjectiveConfig, TrainConfig, TriggerConfig
from trainer.data import Dataset, Splits
from trainer.progress import LineProgress
from trainer.training import train_triggers
from triggers.model import FrozenClassifier, load_bundle
from triggers.model.reprogram import reprogram
from triggers.preprocessing import TextBatch, TokenIds
from triggers.trigger import TextTrigger

GROUPS = ("f", "m")


def part(classifier: FrozenClassifier, seed: int) -> Dataset:
    items = [classifier.preprocess(text) for text in odd_texts(60, seed, most=15)]
    inputs, draw = classifier.batch(items), random.Random(seed)
    labels, groups = (torch.tensor([draw.randrange(2) for _ in items]) for _ in range(2))
    ids = tuple(f"{seed}-{n}" for n in range(len(items)))
    return Dataset(inputs, labels, groups, ids, classifier.labels, GROUPS)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["gpt2", "gemma3_text", "fnet"])
def test_a_trained_trigger_is_counted_as_its_words_are_answered(family: str, tmp_path: Path) -> None:
    classifier = load_bundle(family_bundle(tmp_path, (ENCODERS | DECODERS)[family]))
    splits = Splits(*(part(classifier, seed) for seed in (1, 2, 3)))
    config = run_config(
        ObjectiveConfig(strengths=(1.0,)),
        trigger=TriggerConfig("hard", tokens=3, position="before_sep"),
        train=TrainConfig(steps=6, batch_size=16, lr=0.5),
    )
    result = train_triggers(config, classifier, splits, LineProgress(io.StringIO()))
    test, template, bare = splits.test, classifier.template, classifier.bank([classifier.null_trigger()])
    assert isinstance(test.inputs, TextBatch)
    for candidate in result.candidates:
        assert isinstance(candidate.trigger, TextTrigger) and candidate.trigger.token_ids
        found: Counter[tuple[str, int | None, int]] = Counter()
        for row in range(len(test)):
            ids = tuple(test.inputs.ids[row, : int(test.inputs.lengths[row])].tolist())
            end = len(ids) - len(template.suffix)
            typed = TokenIds(ids[:end] + candidate.trigger.token_ids + ids[end:], truncated=False)
            with torch.no_grad():
                logits = reprogram(classifier, classifier.batch([typed]), bare, torch.zeros(1, dtype=torch.long))
            found[GROUPS[int(test.groups[row])], int(test.labels[row]), int(logits.argmax())] += 1
        assert candidate.counts["test"] == dict(found)
