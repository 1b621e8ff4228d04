"""Group probes of a trigger: which group they read from the frozen network's features and outputs.

null     a null input, without and with the trigger: which group does the probe predict?
shift    real inputs of the test split, by true group: how far does the trigger move the prediction?
leak     held-out accuracy of fresh probes on features and outputs, without and with the trigger

The probe of `null` and `shift` is fitted on tuning inputs without a trigger; those of `leak` are fitted anew, with and
without it, on validation, which the trigger was not trained on (cross-fitting excepted). All are tested on test. A
probe reads triggered inputs through a network that never saw them: its readings are hints about a mechanism,
no measurement of fairness.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from trainer.data import Dataset, Splits
from trainer.evaluation.group_probe import Probe, balanced_accuracy, fit_probe
from trainer.evaluation.network_outputs import NetworkOutputs, network_outputs
from triggers.model import FrozenClassifier, Trigger
from triggers.preprocessing import Inputs, TextBatch

GREY_BYTE = 128


def probe_trigger(
    classifier: FrozenClassifier, splits: Splits, trigger: Trigger, *, rows: int, batch: int, seed: int
) -> dict[str, Any]:
    """All three readings as JSON values, from at most `rows` rows of each split drawn by `seed`."""
    tuning, val, test = (sample_rows(data, rows, seed) for data in (splits.tuning, splits.val, splits.test))
    names, null = test.group_names, classifier.null_trigger()
    (fitted,) = network_outputs(classifier, tuning, [null], batch)
    probe = fit_probe(fitted.features, tuning.groups, len(names))
    judged = network_outputs(classifier, test, [null, trigger], batch)
    posteriors = [probe.posterior(one.features) for one in judged]
    return {
        "features": fitted.features.shape[1],
        "layer": "logits" if fitted.features.equal(fitted.logits) else "input of the last linear layer",
        "rows": {"tuning": len(tuning), "val": len(val), "test": len(test)},
        "guessing": 1 / len(names),
        "held_out": balanced_accuracy(posteriors[0], test.groups),
        "null": _null(classifier, trigger, probe, names),
        "shift": _shift(posteriors, test),
        "leak": _leak(network_outputs(classifier, val, [null, trigger], batch), val, judged, test),
    }


def sample_rows(data: Dataset, rows: int, seed: int) -> Dataset:
    """At most `rows` rows, drawn without replacement, on the CPU and in the order of the data."""
    if len(data) <= rows:
        return data.to("cpu")
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))
    return data.take(order[:rows].sort().values.to(data.labels.device)).to("cpu")


def null_inputs(classifier: FrozenClassifier) -> dict[str, Inputs]:
    """Null inputs: a black and a mid-grey image, or a text of special tokens alone."""
    if classifier.spec.image:
        shape = (1, *classifier.spec.image.pixel_shape)
        return {"black image": torch.zeros(shape, dtype=torch.uint8), "grey image": torch.full(shape, GREY_BYTE).byte()}
    ids = classifier.template.prefix + classifier.template.suffix
    words = " ".join(classifier.tokenizer.convert_ids_to_tokens(list(ids)))
    return {f"empty text {words}": TextBatch.of([ids], classifier.pad_id)} if ids else {}


def _null(classifier: FrozenClassifier, trigger: Trigger, probe: Probe, names: tuple[str, ...]) -> list[dict[str, Any]]:
    found = []
    for name, inputs in null_inputs(classifier).items():
        nobody = torch.zeros(1, dtype=torch.long)
        data = Dataset(inputs, nobody, nobody, (name,), classifier.labels, names)
        seen = network_outputs(classifier, data, [classifier.null_trigger(), trigger], 1)
        bare, with_trigger = (dict(zip(names, probe.posterior(one.features)[0].tolist(), strict=True)) for one in seen)
        found.append({"input": name, "bare": bare, "trigger": with_trigger})
    return found


def _shift(posteriors: list[Tensor], test: Dataset) -> list[dict[str, Any]]:
    """Mean posterior and mean entropy (bits) of each group's rows."""
    found = []
    for code, name in enumerate(test.group_names):
        rows = test.groups == code
        if not rows.any():
            continue
        entry: dict[str, Any] = {"group": name, "n": int(rows.sum())}
        for key, posterior in zip(("bare", "trigger"), posteriors, strict=True):
            entry[key] = dict(zip(test.group_names, posterior[rows].mean(dim=0).tolist(), strict=True))
            entropy = -(posterior[rows] * posterior[rows].clamp(min=1e-12).log2()).sum(dim=1).mean()
            entry[f"{key}_entropy"] = float(entropy)
        found.append(entry)
    return found


def _leak(
    val_seen: list[NetworkOutputs], val: Dataset, test_seen: list[NetworkOutputs], test: Dataset
) -> list[dict[str, Any]]:
    """Balanced accuracy of fresh probes: from features, from scores (parity), from scores and label (odds)."""
    views: dict[str, Callable[[NetworkOutputs, Dataset], Tensor]] = {
        "features": lambda seen, _: seen.features,
        "scores": lambda seen, _: _scores(seen),
        "scores and true label": lambda seen, data: _with_label(_scores(seen), data),
        "true label alone": lambda seen, data: _with_label(torch.zeros(len(data), 0), data),
    }
    count, found = len(test.group_names), []
    for name, view in views.items():
        entry: dict[str, Any] = {"from": name}
        for key, fit_on, judge_on in zip(("bare", "trigger"), val_seen, test_seen, strict=True):
            probe = fit_probe(view(fit_on, val), val.groups, count)
            entry[key] = balanced_accuracy(probe.posterior(view(judge_on, test)), test.groups)
        found.append(entry)
    return found


def _scores(seen: NetworkOutputs) -> Tensor:
    """Centred logits and their squares (N, 2 * labels), so that a probe sees distance from the threshold too."""
    centred = seen.logits - seen.logits.mean(dim=1, keepdim=True)
    return torch.cat([centred, centred.square()], dim=1)


def _with_label(scores: Tensor, data: Dataset) -> Tensor:
    """Scores in separate columns for each label, and the label itself (N, labels * (S + 1))."""
    label = one_hot(data.labels, len(data.label_names)).float()
    apart = (scores.unsqueeze(1) * label.unsqueeze(2)).flatten(1)
    return torch.cat([apart, label], dim=1)
