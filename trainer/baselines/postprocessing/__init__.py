"""Post-processing: rules that change a frozen model's answers given its outputs alone, as rivals of triggers.

`comparisons` runs them all, and needs scipy.
"""

from trainer.baselines.postprocessing.record import PostProcessing

__all__ = ["PostProcessing"]
