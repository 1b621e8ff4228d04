"""Exact counts of predictions and late labels, in SQLite or Redis, and the prediction ids that late labels refer to."""

from service.ledger.events import Cell, Feedback, PredictionEvent
from service.ledger.ledger import Ledger
from service.ledger.prediction_id import PredictionIdCodec
from service.ledger.time_buckets import Level

__all__ = ["Cell", "Feedback", "Ledger", "Level", "PredictionEvent", "PredictionIdCodec"]
