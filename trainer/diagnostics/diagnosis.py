"""The diagnosis of one trigger: paired predictions on test, group probes, and a few real validation inputs.

All of it is bounded: the pairs cost one more pass over the test split, the rest works on a sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from trainer.config import RunConfig
from trainer.data import Dataset, Splits
from trainer.diagnostics.prediction_flips import flips, paired_counts
from trainer.diagnostics.trigger_probe import probe_trigger, sample_rows
from trainer.distributed import deterministic_algorithms
from trainer.evaluation import Candidate
from trainer.evaluation.counts import predicted_labels
from trainer.evaluation.paired_effects import paired_changes
from trainer.queries import meter_of
from triggers.model import FrozenClassifier, scores, sweep
from triggers.trigger import TextTrigger


@dataclass(frozen=True)
class ComparedGroups:
    """The groups that gaps compare, and whether they overlap."""

    groups: tuple[str, ...]
    overlapping: bool = False


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """JSON values by key for metrics.json, and the inputs of record["examples"], in that order."""

    record: dict[str, Any]
    examples: Dataset | None


def diagnose(
    config: RunConfig, classifier: FrozenClassifier, splits: Splits, candidate: Candidate, compared: ComparedGroups
) -> Diagnosis:
    """Diagnose one candidate's trigger; of a model that is asked through a meter in pairs only, which are answered."""
    with deterministic_algorithms(classifier.device, config.train.threads):
        batch, seed, rows = config.train.batch_size, config.train.seed, config.report.rows
        record = _paired(classifier, splits.test, candidate, compared, batch)
        if meter_of(classifier):
            return Diagnosis(record | {"examples": []}, None)
        record["readout"] = probe_trigger(classifier, splits, candidate.trigger, rows=rows, batch=batch, seed=seed)
        if not config.report.examples:
            return Diagnosis(record | {"examples": []}, None)
        val = sample_rows(splits.val, rows, seed)
        at, record["examples"] = _examples(classifier, val, candidate, config.report.examples, batch)
        return Diagnosis(record, val.take(at))


def nearest_words(classifier: FrozenClassifier, trigger: TextTrigger) -> list[tuple[str, float]]:
    """For every trigger token the word whose embedding has the highest cosine similarity, and that cosine."""
    matrix = normalize(classifier.embedding_matrix.detach().float().cpu(), dim=1)
    best = (normalize(trigger.embeddings.float().cpu(), dim=1) @ matrix.T).max(dim=1)
    words = classifier.tokenizer.convert_ids_to_tokens(best.indices.tolist())
    return list(zip(words, best.values.tolist(), strict=True))


def pick_examples(before: Tensor, after: Tensor, groups: Tensor, count: int) -> list[int]:
    """Row numbers to show, from predictions (N,) and groups (N,): first one row per direction and group of a flip, half
    of the places at most, then rows that stay, one group after the other. Chosen by these alone.
    """
    kinds: dict[tuple[int, int, int], list[int]] = {}
    for row, kind in enumerate(zip(before.tolist(), after.tolist(), groups.tolist(), strict=True)):
        kinds.setdefault(kind, []).append(row)
    flipped = [rows[0] for kind, rows in sorted(kinds.items()) if kind[0] != kind[1]][: -(-count // 2)]
    staying = sorted(
        (place, kind[2], rows[place])
        for kind, rows in kinds.items()
        if kind[0] == kind[1]
        for place in range(min(count, len(rows)))
    )
    return [*flipped, *(row for *_, row in staying)][:count]


def _paired(
    classifier: FrozenClassifier, test: Dataset, candidate: Candidate, compared: ComparedGroups, batch: int
) -> dict[str, Any]:
    bank = classifier.bank([classifier.null_trigger(), candidate.trigger])
    before, after = predicted_labels(classifier, test, bank, batch).cpu()
    paired = paired_counts(test, before, after)
    labels, pos_label, overlapping = len(classifier.labels), classifier.pos_label, compared.overlapping
    return {
        "paired": [[*cell, n] for cell, n in paired.items()],
        "flips": flips(paired, compared.groups, pos_label, overlapping=overlapping),
        "change": paired_changes(paired, compared.groups, pos_label, labels, overlapping=overlapping),
    }


def _examples(
    classifier: FrozenClassifier, val: Dataset, candidate: Candidate, count: int, batch: int
) -> tuple[Tensor, list[dict[str, Any]]]:
    bank = classifier.bank([classifier.null_trigger(), candidate.trigger])
    before, after = predicted_labels(classifier, val, bank, batch).cpu()
    at = torch.tensor(pick_examples(before, after, val.groups, count))
    with torch.no_grad():
        inputs = val.take(at).to(classifier.device).inputs
        positive = scores(sweep(classifier, inputs, bank))[:, :, classifier.pos_label].tolist()
    return at, [
        {
            "group": val.group_names[int(val.groups[row])],
            "label": int(val.labels[row]),
            "bare": {"prediction": int(before[row]), "score": positive[0][place]},
            "trigger": {"prediction": int(after[row]), "score": positive[1][place]},
        }
        for place, row in enumerate(at.tolist())
    ]
