"""The ledger's store in Redis, for replicas on several machines: one server, Sentinels or a Cluster.

The client library retries nothing (triggers/storage/redis_client.py); the ledger repeats a batch under its number.
Durability is the server's: with `appendfsync everysec` a crash of the server may lose its last second, and a failover
what was not yet replicated. `maxmemory-policy` must be noeviction, or counts vanish silently.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from service.ledger import redis_scripts
from service.ledger.backend import (
    NOTHING,
    CountBatch,
    FeedbackOutcome,
    Observation,
    Release,
    StoredObservation,
)
from service.ledger.events import Cell, Feedback, PredictionEvent
from service.ledger.process_liveness import LivenessFile, Loss, exclusive_scan, find_dead_runs
from service.ledger.time_buckets import Level, cover_minutes
from triggers.storage.atomic_files import make_private_folder
from triggers.storage.redis_client import check_server, connect_redis, translated

RUNS, LOSSES, GROUPS = "fairtrigger:runs", "fairtrigger:losses", "fairtrigger:groups"
LEASE_SECONDS = 180.0
"""Seconds by the server's clock after which a silent replica counts as dead; each renews its entry every minute."""
_LETTERS = {Level.MINUTE: "m", Level.HOUR: "h", Level.DAY: "d", Level.ARRIVAL: "a"}
OBSERVED_AT_ONCE = 500
"""Observations in one script, for which all other clients wait."""
_OUTCOMES = (FeedbackOutcome.UNCHANGED, FeedbackOutcome.COUNTED, FeedbackOutcome.CORRECTED)


class RedisLedger:
    """The LedgerStore of several machines, in one Redis server or cluster."""

    def __init__(self, url: str, seconds: float, runs: Path) -> None:
        self._redis = connect_redis(url, seconds)
        scripts = redis_scripts
        self._apply, self._feedback, self._observe, self._total, self._release, self._take_over, self._now = (
            self._redis.register_script(text)
            for text in (
                scripts.APPLY,
                scripts.FEEDBACK,
                scripts.OBSERVE,
                scripts.TOTAL,
                scripts.RELEASE,
                scripts.TAKE_OVER,
                scripts.NOW,
            )
        )
        self._folder = runs
        self._own: dict[str, LivenessFile] = {}  # this process's runs
        make_private_folder(runs)
        check_server(self._redis, "counts")

    def start(self, run: str, interval: float, now: float) -> LivenessFile:
        """Register a run; scans for dead runs on this machine wait meanwhile."""
        with _translated(), exclusive_scan(self._folder):
            presence = LivenessFile(self._folder / run, interval, now)
            self._own[run] = presence
            self._redis.hset(RUNS, run, _state(presence, self._time()))
        return presence

    def finish(self, run: str, now: float) -> None:
        """Delete a run that ended cleanly."""
        with _translated():
            self._redis.hdel(RUNS, run)
            for model in self._models():
                self._redis.hdel(f"{_prefix(model)}:batches", run)
        self._own.pop(run, None)

    def reap_dead_runs(self, now: float) -> list[Loss]:
        """Renew this process's runs, and close those of dead processes of this machine and of expired replicas."""
        with _translated(), exclusive_scan(self._folder):
            for run in self._own:
                self._renew(run, now)
            found = find_dead_runs(self._folder, now)
            lost = self._expired_runs(self._time()) | {each.run: each.loss for each in found}
            entered = [loss for run, loss in lost.items() if self._redis.hdel(RUNS, run) and self._enter(run, loss)]
            for each in found:
                each.path.unlink(missing_ok=True)
        return [loss for loss in entered if loss]

    def _expired_runs(self, now: float) -> dict[str, Loss]:
        """Runs past their lease by the server's clock: everything since their last flush may be lost."""
        entered: Any = self._redis.hgetall(RUNS)
        states = {str(run): json.loads(text) for run, text in entered.items()}
        return {
            run: Loss(state["clean"], min(now, state["seen"] + 60 + state["interval"]), 0, "killed")
            for run, state in states.items()
            if state["seen"] < now - LEASE_SECONDS - state["interval"] and run not in self._own
        }

    def _renew(self, run: str, now: float) -> None:
        """Renew a run's entry. If it is missing, another replica reaped it, or the server lost its data."""
        presence = self._own[run]
        if not self._redis.hexists(RUNS, run) and not self._redis.hdel(LOSSES, run):
            self._enter(f"{run}:reset", Loss(presence.started_at, now, 0, "store_reset"))
        self._redis.hset(RUNS, run, _state(presence, self._time()))

    def _time(self) -> float:
        """The server's clock in seconds; clocks of machines may differ by minutes."""
        now: Any = self._now([RUNS])
        return float(now)

    def apply(self, run: str, batch: CountBatch) -> None:
        """Count a batch, unless it was counted before: groups, one script per model, then the loss."""
        by_model: dict[str, list[tuple[Cell, int]]] = {}
        for cell, n in batch.cells.items():
            by_model.setdefault(cell.model, []).append((cell, n))
        with _translated():
            if batch.groups or by_model:
                self._redis.sadd(GROUPS, *_pairs(batch.groups), *(json.dumps([model, None]) for model in by_model))
            for model, cells in by_model.items():
                rows = (value for cell, n in cells for value in (cell.minute, _field(cell), n))
                self._apply([_prefix(model)], [run, batch.number, int(batch.taken_at // 60), *rows])
            if batch.loss:
                self._enter(f"{run}:{batch.number}", batch.loss)
            self._renew(run, batch.taken_at)

    def _enter(self, name: str, loss: Loss | None) -> Loss | None:
        if loss:
            self._redis.hset(LOSSES, name, json.dumps([loss.since, loss.until, loss.dropped, loss.reason]))
        return loss

    def feedback(self, items: Sequence[Feedback], now: float) -> list[FeedbackOutcome]:
        """Move each prediction from its current cell to that of its new label and group."""
        outcomes: dict[int, FeedbackOutcome] = {}
        with _translated():
            series = [item.event.cell().model for item in items]
            for model in set(series):
                places = [place for place, own in enumerate(series) if own == model]
                rows = (value for place in places for value in _feedback_args(items[place]))
                found: Any = self._feedback([_prefix(model)], [int(now // 60), *rows])
                outcomes |= zip(places, (_OUTCOMES[each] for each in found), strict=True)
        return [outcomes[place] for place in range(len(items))]

    def observe(self, items: Sequence[Observation], now: float, most: int) -> list[StoredObservation | None]:
        """Count observations of one series whose keys are not known there, some hundred in a script."""
        model, stored = items[0].cell.model, list[StoredObservation | None]()
        with _translated():
            self._redis.sadd(GROUPS, json.dumps([model, None]))
            for first in range(0, len(items), OBSERVED_AT_ONCE):
                rows = (value for item in items[first : first + OBSERVED_AT_ONCE] for value in _observation_args(item))
                found: Any = self._observe([_prefix(model)], [int(now // 60), most, *rows])
                for receipt, state in zip(found[::2], found[1::2], strict=True):
                    stored.append(None if int(state) < 0 else StoredObservation(receipt, bool(int(state))))
        return stored

    def counts(self, model: str, since_minute: int, until_minute: int) -> dict[Cell, int]:
        """Counts of a model over the minutes [since, until), summed by the server."""
        spans = [
            each for span in cover_minutes(since_minute, until_minute) for each in (_LETTERS[span.level], *span[1:])
        ]
        with _translated():
            flat: Any = self._total([_prefix(model)], spans)
        return {_cell(model, 0, flat[i]): int(flat[i + 1]) for i in range(0, len(flat), 2)}

    def series(
        self, model: str, level: Level, since_minute: int, until_minute: int, made_since: int = 0
    ) -> dict[Cell, int]:
        """Counts by period of one level; ARRIVAL: only labels of predictions made in `made_since` or later."""
        prefix, size = _prefix(model), level.minutes
        with _translated():
            periods = self._periods(prefix, size, since_minute, until_minute)
            pipeline = self._redis.pipeline(transaction=False)
            for period in periods:
                pipeline.hgetall(f"{prefix}:{_LETTERS[level]}:{period}")
            found = pipeline.execute()
        total = Counter[Cell]()
        for period, fields in zip(periods, found, strict=True):
            for field, n in fields.items():
                made, field = field.split("|", 1) if level is Level.ARRIVAL else (made_since, field)
                if int(made) >= made_since and int(n) > 0:
                    total[_cell(model, period * size, field)] += int(n)
        return dict(total)

    def _periods(self, prefix: str, size: int, since: int, until: int) -> list[int]:
        """Whole periods of [since, until), on days that have counts."""
        length = Level.DAY.minutes
        days: Any = self._redis.zrangebyscore(f"{prefix}:days", since // length, until // length)
        return [
            period
            for day in map(int, days)
            for period in range(day * length // size, (day + 1) * length // size)
            if since <= period * size and (period + 1) * size <= until
        ]

    def groups(self) -> set[tuple[str, str]]:
        """All (model, group name) ever counted."""
        with _translated():
            return {(model, group) for model, group in self._named() if group is not None}

    def _models(self) -> set[str]:
        return {model for model, _ in self._named()}

    def _named(self) -> Iterator[tuple[str, str | None]]:
        members: Any = self._redis.smembers(GROUPS)
        for text in members:
            model, group = json.loads(text)
            yield model, group

    def losses(self, since: float, until: float) -> list[Loss]:
        """Possible losses between two times (seconds since 1970), oldest first."""
        with _translated():
            entered: Any = self._redis.hvals(LOSSES)
        found = [Loss(*json.loads(text)) for text in entered]
        return sorted((loss for loss in found if loss.until >= since and loss.since <= until), key=lambda at: at.since)

    def releases(self, model: str, size: int, since_minute: int, until_minute: int) -> dict[int, Release]:
        """Releases by first minute of the period, read day by day."""
        prefix, day = _prefix(model), Level.DAY.minutes
        with _translated():
            if self._redis.exists(f"{prefix}:released:{size}"):
                self._take_over([prefix], [size])
            days: Any = self._redis.zrangebyscore(f"{prefix}:days", since_minute // day, until_minute // day)
            pipeline = self._redis.pipeline(transaction=False)
            for each in days:
                pipeline.hgetall(f"{prefix}:told:{size}:{each}")
            entered: Any = pipeline.execute()
        found = {int(minute): text.split("|", 1) for hashed in entered for minute, text in hashed.items()}
        return {
            minute: Release(int(revision), text)
            for minute, (revision, text) in found.items()
            if since_minute <= minute < until_minute
        }

    def release(self, model: str, size: int, minute: int, new: Release) -> bool:
        """Store a period's release; False if its revision was taken meanwhile."""
        with _translated():
            return bool(self._release([_prefix(model)], [size, minute, *new]))

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()


def _translated() -> AbstractContextManager[None]:
    return translated("The ledger in Redis")


def _prefix(model: str) -> str:
    return f"fairtrigger:{{{model}}}"


def _state(presence: LivenessFile, seen: float) -> str:
    return json.dumps({"clean": presence.clean_at, "seen": seen, "interval": presence.interval})


def _pairs(groups: Iterable[tuple[str, str]]) -> list[str]:
    return [json.dumps(pair) for pair in sorted(groups)]


def _field(cell: Cell) -> str:
    label = NOTHING if cell.label is None else cell.label
    bare = NOTHING if cell.bare is None else cell.bare
    return f"{cell.version or 0}|{label}|{cell.prediction}|{bare}|{cell.group}"


def _cell(model: str, minute: int, field: str) -> Cell:
    version, label, prediction, bare, group = field.split("|", 4)
    return Cell(model, minute, int(version) or None, group, _optional(label), int(prediction), _optional(bare))


def _optional(value: str) -> int | None:
    return None if value == str(NOTHING) else int(value)


def _feedback_args(item: Feedback) -> tuple[str | int, ...]:
    event: PredictionEvent = item.event
    bare = NOTHING if event.bare is None else event.bare
    what = (event.group, event.nonce.hex(), "" if item.label is None else item.label, item.group or "")
    return event.minute, event.version or 0, event.prediction, bare, *what


def _observation_args(item: Observation) -> tuple[str | int, ...]:
    cell, known = item.cell, "" if item.label is None else f"{item.label}|{item.event.group}"
    return b64encode(item.key).decode(), item.receipt, cell.minute, _field(cell), item.event.nonce.hex(), known
