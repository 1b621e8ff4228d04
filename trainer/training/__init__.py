"""Training of triggers: the loop, its step, objectives, gradients, checkpoints."""

from trainer.training.objectives.adversary import Adversaries
from trainer.training.trigger_training import train_triggers

__all__ = ["Adversaries", "train_triggers"]
