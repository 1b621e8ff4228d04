"""Questions to a frozen model that cost something: how many rows a run asks, and the answers it keeps."""

from trainer.queries.answer_store import ANSWERS_FILE, AnswerStore
from trainer.queries.asked_network import ask_through, asked_for, meter_of
from trainer.queries.query_meter import BudgetSpent, QueryMeter
from trainer.queries.run_settings import LEFT_OUT, open_answers, with_gradient

__all__ = [
    "ANSWERS_FILE",
    "LEFT_OUT",
    "AnswerStore",
    "BudgetSpent",
    "QueryMeter",
    "ask_through",
    "asked_for",
    "meter_of",
    "open_answers",
    "with_gradient",
]
