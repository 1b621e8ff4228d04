"""FAAP: a small network changes each image so that the features of a frozen classifier hide the group."""

from trainer.baselines.faap.generator import PerturbationGenerator
from trainer.baselines.faap.perturbed_classifier import PerturbedClassifier
from trainer.baselines.faap.step import FaapOptimizer, GroupDiscriminator

__all__ = ["FaapOptimizer", "GroupDiscriminator", "PerturbationGenerator", "PerturbedClassifier"]
