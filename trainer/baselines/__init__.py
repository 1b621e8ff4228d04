"""Baselines and controls that triggers are compared with."""

from trainer.baselines.baselines import save_baselines, train_baselines
from trainer.baselines.controls import run_controls, run_postprocessing
from trainer.baselines.erm import fit_base, refuse_overlap

__all__ = ["fit_base", "refuse_overlap", "run_controls", "run_postprocessing", "save_baselines", "train_baselines"]
