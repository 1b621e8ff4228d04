"""How much of a gap trainings leave within an accuracy budget, on development seeds: the test part is not looked at.

python -m benchmarks.halves --out runs/halves                      six seeds, a GPU: the table of docs/lab-notes.md
python -m benchmarks.halves --out runs/halves --seed 100 --plan adversary    one seed, the plans whose names begin so
python -m benchmarks.halves --out runs/halves --task smiling --criterion demographic_parity   other data, the other gap

Of every training, all strengths at all validations are candidates. Validation rows are halved at random, many times:
one half picks the smallest gap within the budget (average odds difference; demographic parity difference for
demographic parity), the other half reports it.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import torch
import typer
from torch import Tensor, nn

from benchmarks.systems import System
from benchmarks.tasks import TASKS
from trainer.config import Criterion, RunConfig
from trainer.config.run_config import TriggerConfig
from trainer.data import Dataset, Splits
from trainer.distributed import deterministic_algorithms
from trainer.evaluation import bare_logits
from trainer.progress import Progress, open_progress
from trainer.train import open_run
from trainer.training.training_loop import TrainingRun
from trainer.training.validation_history import ValidationHistory
from triggers.model import FrozenClassifier

BUDGETS = (0.01, 0.02, 0.04)
BY_GROUP = "thresholds by group"
"""No system but a measure: a threshold for each group, which asks for everybody's group."""

HALVINGS = 60
CUTS = 80
"""Thresholds of one group that are tried with each of the other's."""

_TRAIN: dict[str, Any] = {"epochs": 20, "batch_size": 128, "lr": 0.02, "flip": True, "precision": "bf16"}
_ADVERSARY: dict[str, Any] = {"name": "adversarial", "strengths": (0.3, 1.0, 2.0, 5.0), "calibrate": False}
_GAP: dict[str, Any] = {"name": "gap", "strengths": (3.0, 10.0, 30.0, 100.0), "calibrate": False}
_LARGE, _SMALL = TriggerConfig("overlay", epsilon=64 / 255), TriggerConfig("overlay", epsilon=32 / 255)
_POSTS = {"epochs": 30, "batch_size": 512, "lr": 0.03, "precision": "bf16"}
_SOFT, _CALIBRATED = TriggerConfig("soft", tokens=5), {"calibrate": True}
PLANS: dict[str, tuple[float, System]] = {
    "adversary": (1.0, System("overlay", _LARGE, _ADVERSARY, _TRAIN)),
    "adversary, 2": (2.0, System("overlay", _LARGE, _ADVERSARY, _TRAIN)),
    "adversary, 4": (4.0, System("overlay", _LARGE, _ADVERSARY, _TRAIN)),
    "gap": (1.0, System("overlay", _LARGE, _GAP, {**_TRAIN, "batch_size": 512})),
    "gap, 3": (3.0, System("overlay", _LARGE, _GAP, {**_TRAIN, "batch_size": 512})),
    "small adversary, 3": (3.0, System("overlay", _SMALL, _ADVERSARY, _TRAIN)),
    "calibrated adversary": (1.0, System("overlay", _LARGE, _ADVERSARY | _CALIBRATED, _TRAIN)),
    "calibrated gap": (1.0, System("overlay", _LARGE, _GAP | _CALIBRATED, {**_TRAIN, "batch_size": 512})),
    "soft, adversary": (1.0, System("soft", _SOFT, _ADVERSARY | _CALIBRATED, _POSTS)),
    "soft, gap": (1.0, System("soft", _SOFT, _GAP | _CALIBRATED, _POSTS)),
}
"""What losses divide the logits by, and what is trained."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Validation: what is true of each row (N,), and what the bare model says."""

    labels: Tensor
    groups: Tensor
    bare: Tensor
    criterion: Criterion = "equalized_odds"

    def figures(self, predicted: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Accuracy and the criterion's gap (C,) of predictions (C, N), 0 or 1, over some rows.

        Demographic parity difference, or the average odds difference.
        """
        said, true, group = predicted[:, rows].double(), self.labels[rows], self.groups[rows]
        among = [true >= 0] if self.criterion == "demographic_parity" else [true == 0, true == 1]
        rates = [[said[:, (group == g) & stratum].mean(dim=1) for g in (0, 1)] for stratum in among]
        gap = sum((here - there).abs() for here, there in rates) / len(among)
        return (said == true).double().mean(dim=1), torch.as_tensor(gap)

    def halved(self, predicted: Tensor, budget: float, seed: int) -> tuple[float, float]:
        """Gap and change of accuracy on one half of what the other half picked; the bare model where nothing is."""
        order = torch.randperm(len(self.labels), generator=torch.Generator().manual_seed(seed))
        picks, reports = order.chunk(2)
        candidates = torch.cat([self.bare[None], predicted])
        accuracy, gap = self.figures(candidates, picks)
        chosen = int(torch.where(accuracy >= accuracy[0] - budget, gap, torch.inf).argmin())
        told, left = self.figures(candidates[[0, chosen]], reports)
        return float(left[1]), float(told[1] - told[0])


def cooled(classifier: FrozenClassifier, temperature: float) -> FrozenClassifier:
    """The same predictions from logits over a temperature."""
    network = copy.deepcopy(classifier.network)
    last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    with torch.no_grad():
        last.weight.div_(temperature)
        last.bias.div_(temperature)
    return FrozenClassifier(classifier.spec, network, classifier.tokenizer, str(classifier.device))


def candidates(config: RunConfig, model: FrozenClassifier, splits: Splits, progress: Progress) -> Tensor:
    """Predictions (C, N) on validation of everything that a training passes through."""
    with deterministic_algorithms(model.device, config.train.threads):
        run = TrainingRun.prepare(config, model, splits, progress)
        history = ValidationHistory(run.optimizer.average)
        run.train(history)
    return torch.cat(history.predictions)


def group_thresholds(classifier: FrozenClassifier, val: Dataset) -> Tensor:
    """Predictions (C, N) on validation with a threshold for each of two groups, which a trigger has not.

    Source: Hardt et al., NeurIPS 2016.
    """
    logits, groups = bare_logits(classifier, val, 512).cpu(), val.groups.cpu()
    margins = logits[:, 1] - logits[:, 0]
    said = []
    for group in (0, 1):
        own = groups == group
        cuts = margins[own].quantile(torch.linspace(0, 1, CUTS + 2, dtype=margins.dtype)[1:-1])
        said.append((margins > cuts[:, None]) & own)
    return (said[0][:, None] | said[1][None]).flatten(0, 1).long()


def rows_of(classifier: FrozenClassifier, val: Dataset, criterion: Criterion) -> Rows:
    """What is known of validation rows."""
    bare = classifier.decision.labels(bare_logits(classifier, val, 512)).cpu()
    return Rows(val.labels.cpu(), val.groups.cpu(), bare, criterion)


def measured(
    out: Path, task: str, criterion: Criterion, seed: int, names: Sequence[str], changes: Sequence[str]
) -> Iterator[tuple[str, list[float]]]:
    """By plan: gap and change of accuracy in points, in turn for every budget, as means over the halvings."""
    with open_progress(sys.stderr) as progress:
        config = TASKS[task].config(out / "models", seed, tuple(changes))
        classifier, loader = open_run(config, out / "data-cache", progress)
        splits = loader.splits(classifier)
        rows = rows_of(classifier, splits.val, criterion)
        for name in names:
            made = _made(name, config, criterion, classifier, splits, progress)
            found = [[rows.halved(made, budget, number) for number in range(HALVINGS)] for budget in BUDGETS]
            means = torch.tensor(found).mean(dim=1)  # budgets, (gap, change)
            yield name, (means * torch.tensor([1.0, 100.0])).flatten().tolist()


def _made(
    name: str, config: RunConfig, criterion: Criterion, classifier: FrozenClassifier, splits: Splits, progress: Progress
) -> Tensor:
    if name == BY_GROUP:
        return group_thresholds(classifier, splits.val)
    temperature, system = PLANS[name]
    return candidates(system.config(config, criterion), cooled(classifier, temperature), splits, progress)


def names_for(modality: str, beginnings: Sequence[str]) -> list[str]:
    """The plans that work on images or texts and whose names begin so."""
    fitting = [name for name, (_, system) in PLANS.items() if system.trigger.modality == modality]
    return [name for name in (BY_GROUP, *fitting) if name.startswith(tuple(beginnings))]


def main(
    out: Annotated[Path, typer.Option(help="folder for models and decoded data")],
    seed: Annotated[list[int] | None, typer.Option(help="default: 100 to 105")] = None,
    plan: Annotated[list[str] | None, typer.Option(help="only plans whose names begin so")] = None,
    task: Annotated[str, typer.Option(help=f"one of {', '.join(TASKS)}")] = "attractive",
    criterion: Annotated[Criterion, typer.Option(help="whose gap is picked and reported")] = "equalized_odds",
    overrides: Annotated[list[str] | None, typer.Option("--set", help="as given to the trainer")] = None,
) -> None:
    """Train every plan on every seed and print the means over the seeds."""
    names = names_for(TASKS[task].config(out / "models", 0).modality, plan or [""])
    found: dict[str, list[list[float]]] = {name: [] for name in names}
    for number in seed or range(100, 106):
        for name, means in measured(out.resolve(), task, criterion, number, names, overrides or ()):
            found[name].append(means)
    print("| plan | logits over |" + "".join(f" within {100 * budget:g} points |" for budget in BUDGETS))
    print("| --- | --- |" + " --- |" * len(BUDGETS))
    for name, all_means in found.items():
        means = [mean(values) for values in zip(*all_means, strict=True)]
        cells = "".join(f" {gap:.3f} [{change:+.1f}] |" for gap, change in zip(means[::2], means[1::2], strict=True))
        divisor = f"{PLANS[name][0]:g}" if name in PLANS else ""
        print(f"| {name} | {divisor} |{cells}")


if __name__ == "__main__":
    typer.run(main)
