"""Dispatch of a request to the engine process with the fewest rows in work, if its rows fit there.

The whole request goes there. When that process dies the request is sent to another one, once: computing it again is
safe, since it is counted when it is answered.
"""

from __future__ import annotations

from collections.abc import Sequence

from service.engine.batching import AdmissionControl
from service.workers.engine_client import EngineClient
from service.workers.engine_pool import EnginePool


class Dispatcher:
    """Dispatches one model's requests: every engine process takes `capacity` rows. On the event loop."""

    def __init__(self, pool: EnginePool, capacity: int) -> None:
        self._pool = pool
        self.admission = {engine: AdmissionControl(capacity) for engine in pool.all}
        self._turn = 0

    @property
    def in_flight(self) -> int:
        """Rows in work."""
        return sum([admission.in_flight for admission in self.admission.values()])

    @property
    def capacity(self) -> int:
        """Most rows in work, over the connected processes."""
        return sum([self.admission[engine].capacity for engine in self._pool.up or self._pool.all])

    def acquire(self, rows: int) -> DispatchLease:
        """A lease for `rows` at the least loaded process. Raises Overloaded if they do not fit."""
        return DispatchLease(self, self.least_loaded(self._pool.up or self._pool.all), rows)

    def least_loaded(self, pool: Sequence[EngineClient]) -> EngineClient:
        """The client with the fewest rows in work; ties take turns."""
        self._turn += 1
        first = self._turn % len(pool)
        return min([*pool[first:], *pool[:first]], key=lambda engine: self.admission[engine].in_flight)

    def alternative(self, engine: EngineClient) -> EngineClient:
        """Another process in place of one that died. Raises EngineRestarting if there is none."""
        others = [each for each in self._pool.up if each is not engine]
        if not others:
            raise engine.restarting()
        return self.least_loaded(others)


class DispatchLease:
    """One request's permit at the process of `engine`."""

    def __init__(self, all_of_model: Dispatcher, engine: EngineClient, rows: int) -> None:
        self._all, self._rows = all_of_model, rows
        self._permit = all_of_model.admission[engine].acquire(rows)
        self._moved = False
        self.engine = engine

    def fail_over(self) -> None:
        """Move to another process, once. Raises EngineRestarting or Overloaded if that is not possible."""
        if self._moved:
            raise self.engine.restarting()
        other = self._all.alternative(self.engine)
        permit = self._all.admission[other].acquire(self._rows)
        self._permit.release()
        self.engine, self._permit, self._moved = other, permit, True

    def release(self) -> None:
        """Give the permit back: the request is done."""
        self._permit.release()
