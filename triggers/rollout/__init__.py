"""Rollout documents: the plan of serving versions, the guard's rules, and the hash-chained history.

Import the rest from `rollout_history`, which brings torch.
"""

from triggers.rollout.guard_rules import GuardRules
from triggers.rollout.rollout_plan import RolloutPlan

__all__ = ["GuardRules", "RolloutPlan"]
