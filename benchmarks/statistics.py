"""The tables of docs/statistics.md: what intervals cover, when alarms are raised, and what pairing saves.

python -m benchmarks.statistics                         all tables, a quarter of an hour on one core
python -m benchmarks.statistics --only alarms
python -m benchmarks.statistics --live URL MODEL        pairing on the twins that a running service counted
python -m benchmarks.statistics --demo demo-out         pairing for every version of both demo models, served for it
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks import pairing
from benchmarks.draws import (
    ALPHA,
    LOOKS,
    ROWS,
    Floats,
    Ints,
    drawn,
    heads,
    paired_shares,
    random,
    row,
    short,
    spread,
    streams,
)
from benchmarks.guarding import guard
from service import bets
from service.e_processes import AccuracyLost, EProcess, Worse
from triggers import intervals, paired_intervals
from triggers.quantiles import all_pairs, critical

Z = critical(0.95)


# ---- coverage ---------------------------------------------------------------------------------------------------


def coverage(repeats: int) -> None:
    """How often 95 % intervals contain the truth."""
    print(
        f"Coverage of 95 % intervals, {repeats} repeats (standard error {100 * (0.0475 / repeats) ** 0.5:.1f} points)\n"
    )
    print(heads("figure", "true rates", "n per group", "covers", "mean width"))
    for rate, n in [(0.5, 100), (0.3, 200), (0.1, 400), (0.03, 1000), (0.3, 5000)]:
        limits = intervals.wilson(*drawn([rate], [n], repeats), Z)
        _covered("rate (Wilson)", [rate], [n], limits, rate)
    for a, b, sizes in [
        (0.3, 0.3, [200, 200]),
        (0.5, 0.3, [100, 400]),
        (0.1, 0.05, [300, 150]),
        (0.4, 0.3, [5000, 500]),
    ]:
        hits, of = drawn([a, b], sizes, repeats)
        limits = intervals.newcombe(hits[:, 0], of[:, 0], hits[:, 1], of[:, 1], Z)
        _covered("difference (Newcombe)", [a, b], sizes, limits, a - b)
    for rates, sizes in PARITY:
        _covered("max - min, parity", rates, sizes, intervals.spread(*drawn(rates, sizes, repeats), 0.95), 0.0)
    for rates in ([0.3, 0.5], [0.2, 0.3, 0.4, 0.5], [0.3] * 7 + [0.5]):
        sizes = [500] * len(rates)
        limits = intervals.spread(*drawn(rates, sizes, repeats), 0.95)
        _covered("max - min, a gap", rates, sizes, limits, max(rates) - min(rates))
    for name, shares in CHANGES.items():
        rows = np.stack([random(i).multinomial(500, p, size=repeats) for i, p in enumerate(shares)], axis=1)
        limits = paired_intervals.gain([rows], all_pairs(0.95, len(shares)))
        before, after = ([p[0] + p[i] for p in shares] for i in (1, 2))
        _covered(f"paired gain, {name}", before, [500] * len(shares), limits, spread(before) - spread(after))


PARITY = [
    *(([p] * groups, [n] * groups) for groups in (2, 8) for p, n in [(0.3, 100), (0.3, 1000), (0.1, 500), (0.5, 2000)]),
    ([0.3] * 2, [50, 800]),
    ([0.3] * 8, [100, 100, 200, 200, 400, 400, 800, 800]),
]  # fmt: skip


CHANGES = {
    "none": [paired_shares(0.3, 0.03, 0.03), paired_shares(0.45, 0.03, 0.03)],
    "gap halved": [paired_shares(0.3, 0.02, 0.05), paired_shares(0.45, 0.06, 0.02)],
    "gap closed": [paired_shares(0.3, 0.02, 0.09), paired_shares(0.45, 0.10, 0.02)],
    "8 groups": [*[paired_shares(0.3, 0.02, 0.02)] * 7, paired_shares(0.5, 0.10, 0.0)],
}


def _covered(name: str, rates: Sequence[float], n: Sequence[int], limits: tuple[Floats, Floats], truth: float) -> None:
    low, high = limits
    share = np.mean((low <= truth + 1e-12) & (truth <= high + 1e-12))
    print(row(name, short(rates), short(n), f"{100 * share:.1f} %", f"{np.mean(high - low):.3f}"))


# ---- alarms -----------------------------------------------------------------------------------------------------


def alarms(repeats: int) -> None:
    """How often an alarm is raised in LOOKS looks, and after how many requests."""
    print(f"\nAlarms at alpha = {ALPHA}, {LOOKS} looks, {ROWS} requests per group and look, {repeats} repeats\n")
    print(heads("test", "truth", "alarms", "requests to the alarm (median)"))
    for rates, limit, drift in DISPARITIES:
        hits, n = streams(rates, repeats, drift)
        truth = f"{short(rates)}{f', drifting by {drift}' if drift else ''}"
        _alarmed(f"disparity > {limit}", truth, np.cumsum(bets.spread(hits, n, limit), axis=-1), ROWS * len(rates))
    hits, n = streams([0.3, 0.3], repeats)
    _alarmed("a z-test at every look, for comparison", "0.3 x 2", _z_tests(hits, n), 2 * ROWS)
    for now in ([0.3, 0.42], [0.3, 0.45], [0.3, 0.48]):
        for name, make in (("challenger", apart_rows), ("twins", twin_rows)):
            samples = [make(now, [0.3, 0.4], repeat) for repeat in range(repeats)]
            _tested(f"gap worse by > 0.02, {name}", f"0.10 -> {spread(now):.2f}", Worse, samples)
    for rate in (0.88, 0.85, 0.80):
        samples = [apart_rows([rate], [0.9], repeat) for repeat in range(repeats)]
        _tested("accuracy lost > 0.02, challenger", f"0.90 -> {rate:.2f}", AccuracyLost, samples)


DISPARITIES: list[tuple[list[float], float, float]] = [
    ([0.3, 0.3], 0.0, 0.0), ([0.3, 0.3], 0.0, 0.15), ([0.3] * 8, 0.0, 0.0), ([0.3, 0.4], 0.1, 0.0),
    ([0.3, 0.4], 0.0, 0.0), ([0.3, 0.5], 0.0, 0.0), ([0.3] * 7 + [0.4], 0.0, 0.0), ([0.3, 0.45], 0.1, 0.0),
    ([0.3, 0.5], 0.1, 0.0),
]  # fmt: skip


def apart_rows(new: Sequence[float], old: Sequence[float], repeat: int) -> Floats:
    """Blocks of two versions on different requests, half of them each."""
    hits = random(repeat).binomial(ROWS, np.array([new, old])[None, :, None], size=(LOOKS, 2, 1, len(new)))
    return np.stack([ROWS - hits, hits], axis=-1).astype(float)


def twin_rows(new: Sequence[float], old: Sequence[float], repeat: int, flips: float = 0.08) -> Floats:
    """Blocks of two versions on the same requests, of which a few flip."""
    shares = [paired_shares(o, (flips - n + o) / 2, (flips + n - o) / 2) for n, o in zip(new, old, strict=True)]
    each = random(repeat)
    rows = np.stack([each.multinomial(ROWS, p, size=LOOKS) for p in shares], axis=1)
    return rows[:, None, None].astype(float)


def _tested(name: str, truth: str, test: type[EProcess], samples: Sequence[Floats]) -> None:
    paths = np.stack([test(blocks.shape[1:], 0.02).add(blocks) for blocks in samples])
    _alarmed(name, truth, paths, int(samples[0][0].sum()))


def _alarmed(name: str, truth: str, paths: Floats, requests: int) -> None:
    hit = paths >= np.log(1 / ALPHA)
    looks = np.where(hit.any(axis=-1), hit.argmax(axis=-1) + 1.0, np.inf)
    middle = float(np.median(looks))
    found = "-" if middle == np.inf else f"{middle * requests:.0f}"
    print(row(name, truth, f"{100 * np.isfinite(looks).mean():.1f} %", found))


def _z_tests(hits: Ints, n: Ints) -> Floats:
    """As a log "e-value" that passes the threshold where |z| > 1.96."""
    k, m = np.cumsum(hits, axis=-2), np.cumsum(n, axis=-2)
    pooled = k.sum(-1) / m.sum(-1)
    deviation = np.sqrt(np.maximum(pooled * (1 - pooled) * (1 / m).sum(-1), 1e-12))
    return np.where(np.abs(k[..., 0] / m[..., 0] - k[..., 1] / m[..., 1]) > Z * deviation, 10.0, 0.0)


TABLES: dict[str, tuple[Callable[[int], None], int]] = {
    "coverage": (coverage, 2000),
    "alarms": (alarms, 1000),
    "guard": (guard, 500),
    "pairing": (pairing.simulated, 2000),
}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=TABLES)
    parser.add_argument("--repeats", type=int, help="of coverage and pairing 2,000, alarms 1,000, guard 500")
    parser.add_argument("--demo", type=Path, metavar="FOLDER", help="of make demo, such as demo-out")
    parser.add_argument("--live", nargs=2, metavar=("URL", "MODEL"))
    chosen = parser.parse_args()
    if chosen.live or chosen.demo:
        pairing.demo(chosen.demo) if chosen.demo else pairing.live(*chosen.live)
        return
    for name, (table, repeats) in TABLES.items():
        if chosen.only in (None, name):
            table(chosen.repeats or repeats)


if __name__ == "__main__":
    main()
