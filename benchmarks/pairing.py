"""What pairing saves: the variance of the demographic parity gain from twins, and from an A/B split of the traffic.

A group of n requests has selection rates p1 (bare) and p2 (with the trigger), d = p2 - p1, and a share f of answers
that the trigger flips. Its change d is estimated with variance

    paired     (f - d^2) / n                              every request ran both ways
    A/B split  (p1 (1 - p1) + p2 (1 - p2)) / (n / 2)      half of the requests ran each way

and the gain, a difference of two groups' changes, with the sum over both. No trigger flips fewer answers than |d|,
which bounds the ratio of the two. The mean of n such pairs is the unbiased estimate of least variance for requests to
come; for the n requests themselves the gain is known.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np

from benchmarks.draws import Floats, Ints, heads, paired_shares, random, row
from fairtrigger.demo.live_service import ReplayClient, running_service
from fairtrigger.demo.traffic import held_out
from triggers.store import Store, open_store
from triggers.store.store import version_name

TRAFFICS, REQUESTS = 5, 800
"""How often traffic is drawn anew from the demo's held-out inputs, with replacement, and how much of it each time."""


# ---- simulated --------------------------------------------------------------------------------------------------


def simulated(repeats: int) -> None:
    """10,000 requests of two groups: all run both ways, or half each way."""
    print(f"\nVariance of the gain, paired against an A/B split of the same 10,000 requests, {repeats} repeats\n")
    print(heads("rows that flip", "true gain", "sd paired", "sd A/B", "variance ratio", "by the formula"))
    for down, up in [(0.01, 0.04), (0.02, 0.05), (0.02, 0.08), (0.02, 0.15)]:
        shares = [paired_shares(0.30, down, up), paired_shares(0.60, up, down)]
        both, first, other = (
            np.stack([random(10 * part + g).multinomial(n, p, size=repeats) for g, p in enumerate(shares)], axis=1)
            for part, n in enumerate((5000, 2500, 2500))
        )
        paired, split = _gap(both, 1) - _gap(both, 2), _gap(first, 1) - _gap(other, 2)
        known = [Change(5000, share[0] + share[1], share[0] + share[2], down + up) for share in shares]
        figures = f"{paired.std():.4f}", f"{split.std():.4f}", f"{np.var(split) / np.var(paired):.1f}"
        print(row(f"{100 * (down + up):.0f} %", f"{2 * (up - down):.2f}", *figures, f"{ratio(known):.1f}"))


def _gap(rows: Ints, column: int) -> Floats:
    rate = (rows[..., 0] + rows[..., column]) / rows.sum(axis=-1)
    return np.asarray(rate[:, 1] - rate[:, 0])


# ---- the formula ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Change:
    """One group's n requests: selection rates before and after, and the share of answers that flipped."""

    n: int
    before: float
    after: float
    flipped: float

    @property
    def split_variance(self) -> float:
        """Of its change, had half of the requests run each way."""
        return sum(p * (1 - p) for p in (self.before, self.after)) / (self.n / 2)

    @property
    def paired_variance(self) -> float:
        """Of its change as it was measured."""
        return (self.flipped - (self.after - self.before) ** 2) / self.n

    @property
    def least_variance(self) -> float:
        """The same had no answer flipped that need not, for this change."""
        change = abs(self.after - self.before)
        return (change - change**2) / self.n


def ratio(groups: Sequence[Change]) -> float:
    """A/B to paired variance of the gain."""
    return sum(each.split_variance for each in groups) / sum(each.paired_variance for each in groups)


def bound(groups: Sequence[Change]) -> float:
    """The largest ratio that a trigger with these rates can have."""
    return sum(each.split_variance for each in groups) / sum(each.least_variance for each in groups)


# ---- live -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Seen:
    """What a service counted of one version's twins: its two most different groups, flips over all, the gain."""

    groups: Sequence[Change]
    n: int
    flipped: float
    gain: float


def seen(url: str, model: str) -> dict[str, Seen]:
    """By version, where there are twins."""
    with urlopen(f"{url}/v1/models/{model}/fairness?window=all") as answer:
        document = json.load(answer)
    pairs = {version: report["paired"] for version, report in document["versions"].items() if report["paired"]}
    return {version: seen_in(each, document["pos_label"]) for version, each in pairs.items()}


def seen_in(pairs: Any, pos_label: int) -> Seen:
    """From `paired` of a fairness document."""
    known = [_change(each, pos_label) for group, each in pairs["groups"].items() if group not in ("unknown", "none")]
    known.sort(key=lambda each: each.before)
    gain = pairs["gains"]["demographic_parity_difference"]["value"]
    return Seen([known[0], known[-1]], pairs["n"], pairs["flipped"] / pairs["n"], gain)


def _change(group: Any, pos_label: int) -> Change:
    rate, n = group["selection_rate"], group["n"]
    turned = sum(flip["n"] for flip in group["flips"] if pos_label in (flip["before"], flip["after"]))
    return Change(n, rate["before"], rate["after"], turned / n)


HEAD = heads("model", "version", "twins", "flips", "gain", "A/B to paired variance", "at most, for this gain")


def live(url: str, model: str) -> None:
    """A running service's twins, per version."""
    print(HEAD)
    for version, found in seen(url, model).items():
        print(_line(model, version, [found]))


def demo(out: Path) -> None:
    """Every published version of the demo's models, one after the other champion with a twin beside every answer."""
    models = ("digits", "comments")
    with open_store(str(out / "store")) as published:
        traffics = [{name: _counted(out, name, published, traffic) for name in models} for traffic in range(TRAFFICS)]
    print(
        f"{TRAFFICS} times {REQUESTS} requests drawn anew; mean, and the least and the most of the {TRAFFICS}\n\n{HEAD}"
    )
    for name in models:
        for version in traffics[0][name]:
            print(_line(name, version, [traffic[name][version] for traffic in traffics]))


def _counted(out: Path, model: str, published: Store, traffic: int) -> dict[str, Seen]:
    """What a service of its own counts of one draw of traffic under every version."""
    rows, bundle = held_out(out / model / f"{model}.csv"), out / model / "model"
    chosen = [rows[i] for i in random(traffic).integers(len(rows), size=REQUESTS)]
    with tempfile.TemporaryDirectory() as folder:
        with open_store(f"{folder}/store") as store:
            for info in published.versions(model):
                store.publish(published.get(model, info.version), actor="benchmark")
        with running_service([bundle], f"{folder}/store", Path(folder) / "data") as (url, token):
            with ReplayClient(url, model, token) as client:
                for info in published.versions(model):
                    client.decide(version_name(info.version), twin_share=1.0)
                    client.replay(chosen, version_name(info.version))
            return seen(url, model)


def _line(model: str, version: str, found: Sequence[Seen]) -> str:
    twins, flips = sum(each.n for each in found), 100 * np.mean([each.flipped for each in found])
    gains, ratios = [each.gain for each in found], [ratio(each.groups) for each in found]
    most = float(np.mean([bound(each.groups) for each in found]))
    return row(model, version, str(twins), f"{flips:.1f} %", _span(gains, 3), _span(ratios, 1), f"{most:.1f}")


def _span(values: Sequence[float], digits: int) -> str:
    mean = f"{np.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.{digits}f} to {max(values):.{digits}f})"
