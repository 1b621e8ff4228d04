"""Every goal of performance beside the figure that its benchmark wrote: pass, miss, or not measured.

    python -m benchmarks.check              # the records in docs/results/performance
    python -m benchmarks.check FOLDER       # those that a run wrote elsewhere

Ends with status 1 if a goal was missed. A benchmark that has not run is no miss: its command is printed.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.performance_record import RECORDS, PerformanceRecord, read_records


@dataclass(frozen=True)
class Goal:
    """A limit for one figure of a benchmark: at least `bound`, or at most."""

    benchmark: str
    figure: str
    bound: float
    says: str
    at_least: bool = False

    def met(self, value: float) -> bool:
        """Whether a figure reaches it."""
        return value >= self.bound if self.at_least else value <= self.bound


GOALS = (
    Goal("large_models", "decoder_8b.peak_gib", 40, "8B decoder, 8 x 512 tokens: GiB at the peak"),
    Goal("large_models", "decoder_8b.step_over_forward", 2.3, "its step, times its forward"),
    Goal("large_models", "decoder_8b_recomputed.peak_gib", 24, "8B with recomputation: GiB at the peak"),
    Goal("large_models", "decoder_8b_recomputed.step_over_forward", 3.2, "its step, times its forward"),
    Goal("large_models", "vit_l16.peak_gib", 24, "ViT-L/16, 128 images of 224 px: GiB at the peak"),
    Goal("serve_large", "mixed_16_cost", 0.02, "16 mixed triggers in bf16: share of the bare model's time"),
    Goal("serve_large", "borders_cost", 0.01, "borders in bf16: share of the bare model's time"),
    Goal("serve", "over_best_peer_16", 4, "requests/s at 16 connections, times the best peer's", at_least=True),
    Goal("serve", "over_best_peer_64", 5, "requests/s at 64 connections, times the best peer's", at_least=True),
    Goal("serve", "p99_over_best_peer", 1, "p99, times the best peer's"),
    Goal("serve", "cpu_ms_per_request", 0.25, "CPU milliseconds of a request"),
    Goal("serve", "idle_cpu_percent", 0.5, "percent of a core while idle"),
    Goal("serve", "idle_cpu_percent_workers", 0.5, "the same with two workers"),
    Goal("serve", "memory_mb_workers", 700, "MB of two workers"),
    Goal("serve", "mixed_16_over_one_low", 0.97, "16 triggers over one: lower end of the interval", at_least=True),
    Goal("first_answer", "service_over_best_peer_seconds", 1, "start to ready, times the best peer's"),
    Goal("first_answer", "service_over_best_peer_mb", 1, "memory when ready, times the best peer's"),
    Goal("first_answer", "help_seconds_over_python", 1.5, "`fairtrigger --help`: CPU seconds beyond bare Python's"),
    Goal("first_answer", "second_copies_of_weights", 0, "HTTP processes that hold weights beside another's"),
    *(
        goal
        for store in ("sqlite", "redis")
        for goal in (
            Goal("ledger_month", f"{store}.window_24h_ms", 20, f"a month in {store}: the window of 24 h, ms"),
            Goal("ledger_month", f"{store}.window_90d_ms", 200, f"a month in {store}: the window of 90 d, ms"),
            Goal("ledger_month", f"{store}.disclosed_24h_ms", 20, f"{store}: 24 h as everybody sees it, ms"),
            Goal("ledger_month", f"{store}.disclosed_90d_ms", 200, f"{store}: 90 d as everybody sees it, ms"),
            Goal("ledger_month", f"{store}.disclosed_90d_first_ms", 200, f"{store}: the first reading of an hour, ms"),
            Goal("ledger_month", f"{store}.last_week_growth", 0.1, f"{store}: growth of the last week, of the whole"),
        )
    ),
    *(
        goal
        for store in ("file", "redis")
        for goal in (
            Goal("growth", f"{store}.publish_ms", 20, f"publishing at 5,000 versions, {store}, ms"),
            Goal("growth", f"{store}.worst_ratio", 1.5, f"reads at 5,000 versions over those at 10, {store}"),
        )
    ),
    Goal("growth", "groups.flush_ms", 100, "64 crossed groups: a flush, ms"),
    Goal("growth", "groups.report_ms", 500, "64 crossed groups: the fairness report, ms"),
    *(
        Goal("soak", f"{mode}.{what}_growth", most, f"an hour {mode.replace('_', ' ')}: growth of {what}")
        for mode in ("without_workers", "with_workers")
        for what, most in (("rss", 0.05), ("descriptors", 0), ("threads", 0), ("shared_memory", 0))
    ),
)
"""All goals, in the order in which they are printed. A record that lacks a figure has not measured it."""


@dataclass(frozen=True)
class Outcome:
    """A goal and what was measured, None if nothing was."""

    goal: Goal
    value: float | None
    record: PerformanceRecord | None

    @property
    def word(self) -> str:
        """`pass`, `miss`, or `not measured`."""
        return "not measured" if self.value is None else "pass" if self.goal.met(self.value) else "miss"


def outcomes(records: Mapping[str, PerformanceRecord], goals: Sequence[Goal] = GOALS) -> list[Outcome]:
    """Each goal with its figure, in order."""
    found = []
    for goal in goals:
        record = records.get(goal.benchmark)
        found.append(Outcome(goal, record.figure(goal.figure) if record else None, record))
    return found


def line(outcome: Outcome) -> str:
    """One row for a terminal: the outcome, the figure, the goal, and what they are."""
    goal, value = outcome.goal, "-" if outcome.value is None else f"{outcome.value:.4g}"
    bound = f"{'>=' if goal.at_least else '<='} {goal.bound:g}"
    return f"{outcome.word:12}  {value:>9}  {bound:>8}  {goal.says} ({goal.benchmark}: {goal.figure})"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print all goals; 1 if one is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.check", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?", default=RECORDS, help="where benchmarks wrote their records")
    records = read_records(parser.parse_args(arguments).folder)
    found = outcomes(records)
    print(f"{'':12}  {'measured':>9}  {'goal':>8}")
    for each in found:
        print(line(each))
    for record in records.values():
        print(f"\n{record.benchmark}: {record.command}\n  {record.date}, {record.machine}")
    words = [each.word for each in found]
    print(f"\n{words.count('pass')} pass, {words.count('miss')} miss, {words.count('not measured')} not measured")
    return int("miss" in words)


if __name__ == "__main__":
    raise SystemExit(main())
