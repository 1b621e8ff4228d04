"""The outputs of the frozen model on one part of the data: all that a rule of post-processing reads."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trainer.data import Dataset
from trainer.evaluation.counts import evaluation_classifier
from trainer.evaluation.network_outputs import network_outputs
from trainer.training.crossfit import concatenate
from triggers.model import FrozenClassifier


@dataclass(frozen=True, eq=False)
class FrozenOutputs:
    """The bare model's outputs on the N rows of one part, on the CPU.

    `data` has their labels (N,), groups (N,) and names, and no inputs. `features` (N, F), float32, are the penultimate
    ones; the logits where the network does not end in a linear layer. `logits` (N, labels), float32, are those whose
    largest is the decision. `predictions` (N,) is what the bare model answers, at its own threshold.
    """

    data: Dataset
    features: Tensor
    logits: Tensor
    predictions: Tensor

    @classmethod
    def of(cls, classifier: FrozenClassifier, data: Dataset, rows: int) -> FrozenOutputs:
        """Run the bare classifier, as it counts, on a data set, `rows` at a time."""
        counter = evaluation_classifier(classifier)
        (seen,) = network_outputs(counter, data, [counter.null_trigger()], rows)
        bare = data.with_inputs(torch.empty(len(data), 0, dtype=torch.uint8))  # the inputs themselves may be large
        return cls(bare.to("cpu"), seen.features, seen.logits, seen.predictions)

    def take(self, rows: Tensor) -> FrozenOutputs:
        """The chosen rows, in the order asked for; without their ids."""
        return FrozenOutputs(self.data.take(rows), self.features[rows], self.logits[rows], self.predictions[rows])

    def followed_by(self, other: FrozenOutputs) -> FrozenOutputs:
        """The rows of both parts."""
        return FrozenOutputs(
            concatenate(self.data, other.data),
            *(
                torch.cat([getattr(part, name) for part in (self, other)])
                for name in ("features", "logits", "predictions")
            ),
        )

    def __len__(self) -> int:
        return len(self.predictions)
