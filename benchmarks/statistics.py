"""The tables of docs/statistics.md: what intervals cover, when alarms are raised, and what pairing saves.

python -m benchmarks.statistics                         all tables, about a minute on one core
python -m benchmarks.statistics --only alarms
python -m benchmarks.statistics --live URL MODEL        pairing on the twins that a running service counted
python -m benchmarks.statistics --demo demo-out         pairing for every version of both demo models, served for it
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
from numpy.typing import NDArray

from examples.demo.traffic import held_out
from examples.live import Client, running_service
from service import bets
from service.event import Cell
from service.evidence import Evidence, accuracy_lost, worse
from service.guard import Guard
from service.periods import Level
from service.samples import Sample
from service.watch import Stand
from triggers import intervals, paired_intervals
from triggers.quantiles import all_pairs, critical
from triggers.rules import LIMITS, Rules
from triggers.store import open_store, version_name

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
SEED = 20_240_901
ALPHA, LOOKS, ROWS = 0.05, 400, 15
Z = critical(0.95)


# ---- coverage ---------------------------------------------------------------------------------------------------


def coverage(repeats: int) -> None:
    """How often 95 % intervals contain the truth."""
    print(
        f"Coverage of 95 % intervals, {repeats} repeats (standard error {100 * (0.0475 / repeats) ** 0.5:.1f} points)\n"
    )
    print(_row("figure", "true rates", "n per group", "covers", "mean width"))
    print(_row(*["---"] * 5))
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
        _covered(f"paired gain, {name}", before, [500] * len(shares), limits, _spread(before) - _spread(after))


PARITY = [
    *(([p] * groups, [n] * groups) for groups in (2, 8) for p, n in [(0.3, 100), (0.3, 1000), (0.1, 500), (0.5, 2000)]),
    ([0.3] * 2, [50, 800]),
    ([0.3] * 8, [100, 100, 200, 200, 400, 400, 800, 800]),
]  # fmt: skip


def _shares(before: float, down: float, up: float) -> list[float]:
    """Rows hit both times, only before, only after, never."""
    return [before - down, down, up, 1 - before - up]


CHANGES = {
    "none": [_shares(0.3, 0.03, 0.03), _shares(0.45, 0.03, 0.03)],
    "gap halved": [_shares(0.3, 0.02, 0.05), _shares(0.45, 0.06, 0.02)],
    "gap closed": [_shares(0.3, 0.02, 0.09), _shares(0.45, 0.10, 0.02)],
    "8 groups": [*[_shares(0.3, 0.02, 0.02)] * 7, _shares(0.5, 0.10, 0.0)],
}


def _covered(name: str, rates: Sequence[float], n: Sequence[int], limits: tuple[Floats, Floats], truth: float) -> None:
    low, high = limits
    share = np.mean((low <= truth + 1e-12) & (truth <= high + 1e-12))
    print(_row(name, _short(rates), _short(n), f"{100 * share:.1f} %", f"{np.mean(high - low):.3f}"))


# ---- alarms -----------------------------------------------------------------------------------------------------


def alarms(repeats: int) -> None:
    """How often an alarm is raised in LOOKS looks, and after how many requests."""
    print(f"\nAlarms at alpha = {ALPHA}, {LOOKS} looks, {ROWS} requests per group and look, {repeats} repeats\n")
    print(_row("test", "truth", "alarms", "requests to the alarm (median)"))
    print(_row(*["---"] * 4))
    for rates, limit, drift in DISPARITIES:
        hits, n = streams(rates, repeats, drift)
        truth = f"{_short(rates)}{f', drifting by {drift}' if drift else ''}"
        _alarmed(f"disparity > {limit}", truth, np.cumsum(bets.spread(hits, n, limit), axis=-1), ROWS * len(rates))
    hits, n = streams([0.3, 0.3], repeats)
    _alarmed("a z-test at every look, for comparison", "0.3 x 2", _z_tests(hits, n), 2 * ROWS)
    for now in ([0.3, 0.42], [0.3, 0.45], [0.3, 0.48]):
        for name, make in (("challenger", apart_rows), ("twins", twin_rows)):
            samples = [make(now, [0.3, 0.4], repeat) for repeat in range(repeats)]
            _tested(f"gap worse by > 0.02, {name}", f"0.10 -> {_spread(now):.2f}", worse, samples)
    for rate in (0.88, 0.85, 0.80):
        samples = [apart_rows([rate], [0.9], repeat) for repeat in range(repeats)]
        _tested("accuracy lost > 0.02, challenger", f"0.90 -> {rate:.2f}", accuracy_lost, samples)


DISPARITIES: list[tuple[list[float], float, float]] = [
    ([0.3, 0.3], 0.0, 0.0), ([0.3, 0.3], 0.0, 0.15), ([0.3] * 8, 0.0, 0.0), ([0.3, 0.4], 0.1, 0.0),
    ([0.3, 0.4], 0.0, 0.0), ([0.3, 0.5], 0.0, 0.0), ([0.3] * 7 + [0.4], 0.0, 0.0), ([0.3, 0.45], 0.1, 0.0),
    ([0.3, 0.5], 0.1, 0.0),
]  # fmt: skip


def apart_rows(new: Sequence[float], old: Sequence[float], repeat: int) -> Sample:
    """Two versions on different requests, half of them each."""
    hits = random(repeat).binomial(ROWS, np.array([new, old])[None, :, None], size=(LOOKS, 2, 1, len(new)))
    return _sample(np.stack([ROWS - hits, hits], axis=-1))


def twin_rows(new: Sequence[float], old: Sequence[float], repeat: int, flips: float = 0.08) -> Sample:
    """Two versions on the same requests, of which a few flip."""
    shares = [_shares(o, (flips - n + o) / 2, (flips + n - o) / 2) for n, o in zip(new, old, strict=True)]
    each = random(repeat)
    rows = np.stack([each.multinomial(ROWS, p, size=LOOKS) for p in shares], axis=1)
    return _sample(rows[:, None, None])


def _sample(rows: Ints) -> Sample:
    return Sample(rows, ["rate"], [str(g) for g in range(rows.shape[3])], 0, LOOKS)


def _tested(name: str, truth: str, test: Callable[[Sample, float], Floats], samples: Sequence[Sample]) -> None:
    paths = np.stack([test(sample, 0.02) for sample in samples])
    _alarmed(name, truth, paths, int(samples[0].rows[0].sum()))


def _alarmed(name: str, truth: str, paths: Floats, requests: int) -> None:
    hit = paths >= np.log(1 / ALPHA)
    looks = np.where(hit.any(axis=-1), hit.argmax(axis=-1) + 1.0, np.inf)
    middle = float(np.median(looks))
    found = "-" if middle == np.inf else f"{middle * requests:.0f}"
    print(_row(name, truth, f"{100 * np.isfinite(looks).mean():.1f} %", found))


def _z_tests(hits: Ints, n: Ints) -> Floats:
    """As a log "e-value" that passes the threshold where |z| > 1.96."""
    k, m = np.cumsum(hits, axis=-2), np.cumsum(n, axis=-2)
    pooled = k.sum(-1) / m.sum(-1)
    deviation = np.sqrt(np.maximum(pooled * (1 - pooled) * (1 / m).sum(-1), 1e-12))
    return np.where(np.abs(k[..., 0] / m[..., 0] - k[..., 1] / m[..., 1]) > Z * deviation, 10.0, 0.0)


# ---- guard ------------------------------------------------------------------------------------------------------


@dataclass
class Trial:
    """A `Watched` with a challenger, whose minutes are drawn; it counts rollbacks instead of making them."""

    rules: Rules
    now: float = 0.0
    pos_label: int = 1
    rolled_back: list[tuple[float, Evidence]] = field(default_factory=list)
    minutes: dict[Level, list[dict[Cell, int]]] = field(default_factory=dict)

    def stand(self) -> Stand:
        """Champion v1 with twins, challenger v2, from the beginning on."""
        return Stand(1 + len(self.rolled_back), 0.0, 1, 2, challenged=True, twins=True, rules=self.rules)

    def withdraw(self, stand: Stand, evidence: Evidence) -> str:
        """Note when."""
        self.rolled_back.append((self.now, evidence))
        return "rolled back"

    def read(self, model: str, level: Level, since: int, until: int, made_since: int = 0) -> dict[Cell, int]:
        """`Ledger.series` of what was drawn."""
        return {cell: n for minute in range(since, until) for cell, n in self.minutes[level][minute].items()}


def guard(repeats: int) -> None:
    """How often the guard itself - its reading, joining, weighing, acting - rolls back in LOOKS minutes."""
    logging.disable()
    print(f"\nRollbacks by the guard at alpha = {ALPHA} in {LOOKS} minutes, {repeats} repeats\n")
    print(_row("rules", "champion", "challenger", "rolled back", "requests until then (median)"))
    print(_row(*["---"] * 5))
    for limits, new, wrong in GUARDED:
        rules = Rules(**dict(zip(LIMITS, limits, strict=True)))
        ends = [_guarded(rules, new, wrong, repeat) for repeat in range(repeats)]
        middle = float(np.median(ends))
        found = "-" if middle == np.inf else f"{middle * 4 * ROWS:.0f}"
        names = ", ".join(f"{name} {limit:g}" for name, limit in zip(LIMITS, limits, strict=True) if limit is not None)
        rates, errors = _short(new), f"wrong {wrong:g}"
        share = f"{100 * np.isfinite(ends).mean():.1f} %"
        print(_row(names, "0.3 x 2, wrong 0.1", f"{rates}, {errors}", share, found))


GUARDED: list[tuple[tuple[float | None, ...], tuple[float, float], float]] = [
    ((0.0, 0.0, 0.0), (0.3, 0.3), 0.1), ((0.1, 0.05, 0.02), (0.3, 0.3), 0.1), ((None, 0.1, 0.02), (0.3, 0.4), 0.12),
    ((0.1, 0.05, 0.02), (0.2, 0.4), 0.1), ((None, 0.05, None), (0.2, 0.4), 0.1), ((None, None, 0.02), (0.3, 0.3), 0.2),
]  # fmt: skip
"""Limits, selection rates of the challenger's two groups, its errors; the first three are true null hypotheses."""
LOOK_EVERY = 100
"""Minutes between two looks: the guard weighs every minute between them as if it had looked."""


def _guarded(rules: Rules, new: Sequence[float], wrong: float, repeat: int) -> float:
    """The minute until which the evidence was read that rolled the challenger or champion back; infinite if none."""
    each, trial = random(repeat), Trial(rules)
    made = [_minute(each, minute, new, wrong) for minute in range(LOOKS + LATE + 2)]
    empty: list[dict[Cell, int]] = [{} for _ in range(LATE)]
    late = [{c._replace(minute=c.minute + LATE): n for c, n in cells.items()} for cells in made]
    trial.minutes = {Level.MINUTE: made, Level.ARRIVAL: empty + late}
    watching = Guard({"m": trial}, trial.read, seal_seconds=0, clock=lambda: trial.now)
    for minute in range(1 + LOOK_EVERY, LOOKS + 2, LOOK_EVERY):
        trial.now = 60.0 * minute
        watching.check("m")
        if trial.rolled_back:
            return float(minute - 1)
    return np.inf


LATE = 7
"""Minutes until a label comes."""


def _minute(each: np.random.Generator, minute: int, new: Sequence[float], wrong: float) -> dict[Cell, int]:
    """ROWS requests per version and group; a twelfth of the champion's answers are not the bare model's."""
    found = Counter[Cell]()
    for version, rates, errors in ((1, (0.3, 0.3), 0.1), (2, new, wrong)):
        for group, rate in zip("fm", rates, strict=True):
            h = each.random(ROWS) < rate
            y, bare = h ^ (each.random(ROWS) < errors), _twins(each, h, rate)
            cells = zip(y.tolist(), h.tolist(), bare.tolist(), strict=True)
            found.update(Cell("m", minute, version, group, int(a), int(b), int(c)) for a, b, c in cells)
    return found


def _twins(each: np.random.Generator, h: NDArray[np.bool_], rate: float) -> NDArray[np.bool_]:
    """Other answers with the same rate, of which a twelfth differ."""
    return np.where(h, each.random(len(h)) > 1 / 24 / rate, each.random(len(h)) < 1 / 24 / (1 - rate))


# ---- pairing ----------------------------------------------------------------------------------------------------


def pairing(repeats: int) -> None:
    """Variance of the demographic parity gain from 10,000 requests: all run both ways, or half each way."""
    print(f"\nVariance of the gain, paired against an A/B split of the same 10,000 requests, {repeats} repeats\n")
    print(_row("rows that flip", "true gain", "sd paired", "sd A/B", "variance ratio"))
    print(_row(*["---"] * 5))
    for down, up in [(0.01, 0.04), (0.02, 0.05), (0.02, 0.08)]:
        shares = [_shares(0.30, down, up), _shares(0.45, up, down)]
        both, first, other = (
            np.stack([random(10 * part + g).multinomial(n, p, size=repeats) for g, p in enumerate(shares)], axis=1)
            for part, n in enumerate((5000, 2500, 2500))
        )
        paired, split = _gap(both, 1) - _gap(both, 2), _gap(first, 1) - _gap(other, 2)
        figures = f"{paired.std():.4f}", f"{split.std():.4f}", f"{np.var(split) / np.var(paired):.1f}"
        print(_row(f"{100 * (down + up):.0f} %", f"{2 * (up - down):.2f}", *figures))


def _gap(rows: Ints, column: int) -> Floats:
    rate = (rows[..., 0] + rows[..., column]) / rows.sum(axis=-1)
    return np.asarray(rate[:, 1] - rate[:, 0])


HEAD = ("model", "version", "twins", "flips", "gain", "95 % interval", "variance ratio to A/B")


def live(url: str, model: str) -> None:
    """The same from the twins that a running service counted, per version, for its two most different groups."""
    with urlopen(f"{url}/v1/models/{model}/fairness?window=all") as answer:
        document = json.load(answer)
    for version, report in document["versions"].items():
        if (pairs := report["paired"]) is None:
            continue
        known = {g: each for g, each in pairs["groups"].items() if g not in ("unknown", "none")}
        ends = sorted(known, key=lambda g: known[g]["selection_rate"]["before"])
        ends = [ends[0], ends[-1]]
        pos = document["pos_label"]
        ratio = sum(_ab_variance(known[g]) for g in ends) / sum(_paired_variance(known[g], pos) for g in ends)
        gain, flips = pairs["gains"]["demographic_parity_difference"], pairs["flipped"] / pairs["n"]
        figures = f"{gain['value']:.3f}", f"{gain['low']:.3f} to {gain['high']:.3f}", f"{ratio:.1f}"
        print(_row(model, version, str(pairs["n"]), f"{100 * flips:.1f} %", *figures), flush=True)


def demo(out: Path) -> None:
    """Every published version of the demo's models, one after the other champion with a twin beside every answer."""
    bundles = {name: out / name / "model" for name in ("digits", "comments")}
    print(_row(*HEAD))
    print(_row(*["---"] * len(HEAD)), flush=True)
    with tempfile.TemporaryDirectory() as folder, open_store(str(out / "store")) as published:
        with open_store(f"{folder}/store") as store:
            for info in (each for name in bundles for each in published.versions(name)):
                store.publish(published.get(info.model, info.version), actor="benchmark")
        with running_service(list(bundles.values()), f"{folder}/store", Path(folder) / "data") as (url, token):
            for name in bundles:
                rows = held_out(out / name / f"{name}.csv")
                with Client(url, name, token) as client:
                    for info in published.versions(name):
                        client.decide(version_name(info.version), twin_share=1.0)
                        client.replay(rows, version_name(info.version))
                live(url, name)


def _ab_variance(group: Any) -> float:
    """Of a group's change if half of its rows had run each way."""
    rates = [group["selection_rate"][when] for when in ("before", "after")]
    return float(sum(p * (1 - p) for p in rates) / (group["n"] / 2))


def _paired_variance(group: Any, pos_label: int) -> float:
    """Of a group's change, from the rows that flipped."""
    up = sum(flip["n"] for flip in group["flips"] if flip["after"] == pos_label) / group["n"]
    down = sum(flip["n"] for flip in group["flips"] if flip["before"] == pos_label) / group["n"]
    return float((up + down - (up - down) ** 2) / group["n"])


# ---- draws and rows ---------------------------------------------------------------------------------------------


def random(part: int) -> np.random.Generator:
    """Repeatable draws, other ones per part."""
    return np.random.default_rng([SEED, part])


def drawn(rates: Sequence[float], n: Sequence[int], repeats: int) -> tuple[Ints, Ints]:
    """Hits and sizes (repeats, G)."""
    hits = random(len(rates)).binomial(n, rates, size=(repeats, len(n)))
    return hits, np.broadcast_to(n, hits.shape)


def streams(rates: Sequence[float], repeats: int, drift: float = 0.0) -> tuple[Ints, Ints]:
    """Hits and sizes (repeats, LOOKS, G), all rates drifting up and down together."""
    shift = drift * np.sin(np.arange(LOOKS) / 20)[:, None]
    p = np.broadcast_to(np.clip(np.array(rates) + shift, 0, 1), (repeats, LOOKS, len(rates)))
    return random(0).binomial(ROWS, p), np.full(p.shape, ROWS)


def _spread(rates: Sequence[float]) -> float:
    return max(rates) - min(rates)


def _short(values: Sequence[float]) -> str:
    """`0.3 x 7, 0.5`."""
    runs = [(value, len(list(run))) for value, run in groupby(values)]
    return ", ".join(f"{value:g} x {times}" if times > 1 else f"{value:g}" for value, times in runs)


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


TABLES: dict[str, tuple[Callable[[int], None], int]] = {
    "coverage": (coverage, 2000),
    "alarms": (alarms, 1000),
    "guard": (guard, 1000),
    "pairing": (pairing, 2000),
}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=TABLES)
    parser.add_argument("--repeats", type=int, help="fewer than 2,000 (coverage, pairing) or 1,000 (alarms)")
    parser.add_argument("--demo", type=Path, metavar="FOLDER", help="of make demo, such as demo-out")
    parser.add_argument("--live", nargs=2, metavar=("URL", "MODEL"))
    chosen = parser.parse_args()
    if chosen.live or chosen.demo:
        demo(chosen.demo) if chosen.demo else live(*chosen.live)
        return
    for name, (table, repeats) in TABLES.items():
        if chosen.only in (None, name):
            table(chosen.repeats or repeats)


if __name__ == "__main__":
    main()
