"""Exact counts of predictions and late labels, in SQLite or Redis, and the prediction ids that labels come back by."""

from service.ledger.events import Cell, Event, Feedback
from service.ledger.ledger import Ledger
from service.ledger.prediction_id import Receipts
from service.ledger.time_buckets import Level

__all__ = ["Cell", "Event", "Feedback", "Ledger", "Level", "Receipts"]
