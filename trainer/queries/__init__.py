"""Questions to a frozen model that cost something: how many rows a run asks, and the answers it keeps."""

from trainer.queries.answer_store import AnswerStore
from trainer.queries.asked_network import ask_through, asked_for, meter_of
from trainer.queries.query_meter import BudgetSpent, QueryMeter

__all__ = ["AnswerStore", "BudgetSpent", "QueryMeter", "ask_through", "asked_for", "meter_of"]
