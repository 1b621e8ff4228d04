"""The meter of a run's queries: rows that it needs a model's answer to, by purpose, and the budget for all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from triggers.errors import FairtriggerError


class BudgetSpent(FairtriggerError):
    """A run would ask more rows than its budget allows; nothing of the request was asked."""


class QueryMeter:
    """Counts of different rows, by purpose. `budget`: rows in all; `price`: of a thousand of them, in money.

    A row that was asked before, in this run or in a killed one, is `spent` once; `asked` are those that this process
    really sent, so that the rest came out of the answers that were kept. `reserved` rows
    are held back for a purpose. `watch` is called after rows were spent.
    """

    def __init__(self, budget: int, price: float | None = None) -> None:
        self.budget, self.price = budget, price
        self.spent: Counter[str] = Counter()
        self.reserved: Counter[str] = Counter()
        self.asked = 0
        self.purpose = "other"
        self.watch: Callable[[], None] | None = None

    @property
    def total(self) -> int:
        """Rows spent so far."""
        return self.spent.total()

    @property
    def left(self) -> int:
        """Rows that may still be asked."""
        return self.budget - self.total

    def take(self, rows: int) -> None:
        """Spend so many rows on the present purpose. Raises BudgetSpent, and then spends none of them."""
        free = self.left - self.reserved.total() + self.reserved[self.purpose]
        if rows > free:
            raise BudgetSpent(f"{rows} more rows are needed, {free} of train.max_queries = {self.budget} are left.")
        self.spent[self.purpose] += rows
        self.reserved[self.purpose] = max(0, self.reserved[self.purpose] - rows)
        if self.watch:
            self.watch()

    @contextmanager
    def asking_for(self, purpose: str) -> Iterator[None]:
        """Spend what the block asks on a purpose."""
        before, self.purpose = self.purpose, purpose
        try:
            yield
        finally:
            self.purpose = before

    def record(self) -> Mapping[str, Any]:
        """The meter as JSON values, for the report."""
        cost = None if self.price is None else round(self.total * self.price / 1000, 4)
        return {
            "budget": self.budget,
            "spent": dict(+self.spent),
            "total": self.total,
            "asked": self.asked,
            "cost": cost,
        }

    def shown(self) -> dict[str, float]:
        """Spent and left, for a progress display."""
        money = {} if self.price is None else {"money": self.total * self.price / 1000}
        return {"rows_spent": self.total, "rows_left": self.left, **money}
