"""The whole models that AdvPost and AdvIN start from, and their bundles.

AdvPost starts from the frozen classifier's weights and trains all of them on the tuning part, on which triggers are
tuned. AdvIN starts from fresh weights (texts: the encoder's) and trains on the base part, as the classifier was fitted.
"""

from __future__ import annotations

import copy
from typing import Any

from trainer.baselines.erm import build_untrained
from trainer.config import RunConfig
from trainer.config.comparison_config import Baseline
from triggers.model import BundleSpec, FrozenClassifier
from triggers.model.bundle import WEIGHTS_FILE, TransformersLoader


def start_model(system: Baseline, config: RunConfig, classifier: FrozenClassifier) -> FrozenClassifier:
    """The model before its first step, in a bundle of its own name; the frozen classifier is not changed."""
    device = str(classifier.device)
    if system == "adv_in":
        assert config.base
        fresh = build_untrained(config.base.named(classifier.labels), config.model.bundle, classifier.device)
        spec = fresh.spec.model_copy(update=_threshold(classifier.spec))
        return FrozenClassifier(_spec(spec, system), fresh.network, fresh.tokenizer, device)
    network = copy.deepcopy(classifier.network)
    return FrozenClassifier(_spec(classifier.spec, system), network, classifier.tokenizer, device)


def _spec(spec: BundleSpec, system: Baseline) -> BundleSpec:
    """The bundle of a baseline: files where `write_bundle` puts them, and a name that differs from the original's."""
    loader = spec.loader
    if isinstance(loader, TransformersLoader):
        loader = TransformersLoader(kind="transformers")
    else:
        loader = loader.model_copy(update={"weights": WEIGHTS_FILE})
    name = f"{spec.name[:50]}-{system.replace('_', '-')}"
    return spec.model_copy(update={"name": name, "loader": loader, "origin": {}, "comparison": None})


def _threshold(spec: BundleSpec) -> dict[str, Any]:
    """The fields of a decision at a threshold, which a model in the classifier's place has to make too."""
    return {} if spec.threshold is None else {"threshold": spec.threshold, "pos_label": spec.pos_label}
