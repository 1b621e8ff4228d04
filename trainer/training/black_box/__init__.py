"""Training from answers alone, scores or labels: the model is asked within a budget, and never looked into."""

from trainer.training.black_box.asked_run import train_asked
from trainer.training.black_box.query_plan import DEFAULT_QUERIES, plan_queries, plan_sentence

__all__ = ["DEFAULT_QUERIES", "plan_queries", "plan_sentence", "train_asked"]
