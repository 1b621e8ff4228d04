"""What everybody may see: attacks by small cells, differences and repeats learn nothing that was not disclosed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from service.disclosure import Combination, Disclosure, Rule, Table, advance, coarsened
from service.event import Cell, Event, Feedback
from service.ledger import Ledger
from service.windows import Windows
from tests.service.counted import NEVER
from tests.service.stores import Where
from triggers.errors import InputError

K = 11
DAY = 1_790_000_000 // 86400 * 1440  # first minute of a day


@dataclass
class World:
    """A ledger at a moment that the test sets, and what somebody without the token reads from it."""

    path: Path
    rule: Rule = field(default_factory=Rule)
    minute: int = DAY

    def __post_init__(self) -> None:
        clock = lambda: self.minute * 60.0 + 20  # noqa: E731
        self.ledger = Ledger(self.path, flush_interval=NEVER, clock=clock)
        self.windows = Windows(self.ledger, Disclosure(self.ledger, self.rule, lambda model: 2), clock)

    def count(self, n: int, group: str, h: int = 1, bare: int | None = None, version: int | None = 1) -> list[Event]:
        name = self.ledger.admit("m", group)
        events = [Event("m", self.minute, version, h, name, bare) for _ in range(n)]
        for event in events:
            self.ledger.record(event)
        return events

    def see(self, window: str = "24h", *, exact: bool = False) -> dict[Cell, int]:
        return dict(self.windows.read("m", window, exact=exact).cells)

    def groups(self, window: str = "24h") -> dict[str, int]:
        total = Counter[str]()
        for cell, n in self.see(window).items():
            total[cell.group] += n
        return dict(total)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path / "ledger.sqlite")
    yield made
    made.ledger.close()


def test_nothing_of_an_hour_is_seen_before_it_is_sealed(world: World) -> None:
    world.count(50, "a")
    world.minute = DAY + 61  # the hour is over, but a replica may still write
    assert world.see() == {}
    assert sum(world.see(exact=True).values()) == 50
    world.minute = DAY + 63
    assert world.groups() == {"a": 50}
    assert world.windows.read("m", "1h", exact=False).until == DAY + 60


def test_a_small_cell_is_not_seen_by_itself_nor_in_a_total(world: World) -> None:
    world.count(50, "a")
    world.count(K - 1, "b")
    world.count(40, "c", 1)
    world.count(3, "c", 0)
    world.minute = DAY + 70
    for window in ("1h", "24h", "7d", "all"):
        assert world.groups(window) == {"a": 50}
    assert world.groups() != Counter(cell.group for cell in world.see(exact=True))


def test_a_version_that_few_got_is_not_seen(world: World) -> None:
    world.count(30, "a", version=1)
    world.count(4, "a", version=2)
    world.minute = DAY + 70
    assert {cell.version for cell in world.see()} == {1}


def test_a_group_is_told_in_the_finest_detail_that_is_safe(world: World) -> None:
    world.count(30, "twins", 1, bare=1)
    world.count(12, "twins", 1, bare=0)
    world.count(30, "one flip", 1, bare=1)
    world.count(1, "one flip", 1, bare=0)
    labelled = world.count(30, "few labels", 1)
    world.ledger.feedback([Feedback(event, 1) for event in labelled[:5]])
    world.minute = DAY + 70
    assert {cell[3:]: n for cell, n in world.see().items()} == {
        ("twins", None, 1, 1): 30,
        ("twins", None, 1, 0): 12,
        ("one flip", None, 1, None): 31,
        ("few labels", None, 1, None): 30,
    }


def test_short_windows_are_for_operators(world: World) -> None:
    for window in ("5m", "15m"):
        with pytest.raises(InputError, match="1h, 6h, 24h"):
            world.see(window)
        assert world.see(window, exact=True) == {}


def test_a_late_label_is_not_seen_until_there_are_enough(world: World) -> None:
    """Looking every few minutes and subtracting must not show one person's label arrive."""
    events = world.count(60, "a", 1)
    world.minute = DAY + 70
    looks = [world.see()]
    for n, event in enumerate(events):
        world.minute += 2
        world.ledger.feedback([Feedback(event, n % 2)])
        looks.append(world.see())
    for one, two in combinations(looks, 2):
        change = {abs(two.get(cell, 0) - one.get(cell, 0)) for cell in {*one, *two}} - {0}
        assert not change or min(change) >= K
    assert looks[0] != looks[-1]
    assert sum(looks[-1].values()) == 60


def test_a_correction_of_one_group_is_not_seen(world: World) -> None:
    events = world.count(40, "a") + world.count(40, "b")
    world.minute = DAY + 70
    before = world.see()
    world.ledger.feedback([Feedback(events[0], group="b")])
    world.minute += 2
    assert world.see() == before
    world.ledger.feedback([Feedback(event, group="b") for event in events[:15]])
    world.minute += 2
    assert world.groups() == {"a": 25, "b": 55}


def test_what_is_seen_does_not_depend_on_who_is_left_out(tmp_path: Path) -> None:
    """Two worlds that differ only in cells that are too small look the same, in every window at every hour."""
    seen = []
    for small in ((0, 0), (1, 7), (10, 10)):
        world = World(tmp_path / f"{small}.sqlite")
        looks = []
        for hour in range(8):
            world.count(20 + 3 * hour, "a", 1)
            world.count(15, "a", 0)
            world.count(small[hour % 2], "b", 1)
            world.minute += 60
            looks.append([world.see(window) for window in ("1h", "6h", "24h", "7d", "all")])
        seen.append(looks)
        world.ledger.close()
    assert seen[0] == seen[1] == seen[2]
    assert seen[0][-1][-1]


counts = st.dictionaries(
    st.tuples(st.sampled_from([None, 0, 1]), st.sampled_from([0, 1]), st.sampled_from([None, 0, 1])),
    st.integers(0, 40),
    max_size=6,
)


@hypothesis_settings(max_examples=150, deadline=None)
@given(st.lists(counts, min_size=1, max_size=8))
def test_any_two_tables_are_safe_in_every_margin(stages: list[dict[Combination, int]]) -> None:
    told: list[Table] = []
    for exact in stages:
        told = advance(told, exact, K)
    for one, two in combinations([{}, *told], 2):
        for axes in ((), (0,), (1,), (2,), (0, 1), (1, 2), (0, 1, 2)):
            before, after = coarsened(one, axes), coarsened(two, axes)
            for key in {*before, *after}:
                change = abs(after.get(key, 0) - before.get(key, 0))
                assert change == 0 or change >= K


# ---- with noise ------------------------------------------------------------------------------------------------


@pytest.fixture
def noisy(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path / "noisy.sqlite", Rule(epsilon=0.5, wait_hours=2, key=b"k" * 32))
    yield made
    made.ledger.close()


def test_noise_is_drawn_once(noisy: World) -> None:
    events = noisy.count(200, "a", 1) + noisy.count(100, "a", 0)
    noisy.minute = DAY + 130
    assert noisy.see() == {}  # late labels have two hours
    noisy.minute = DAY + 190
    first = noisy.see()
    noisy.ledger.feedback([Feedback(event, 1) for event in events])
    for _ in range(5):
        noisy.minute += 3
        assert noisy.see() == first
    assert 250 < sum(first.values()) < 350
    assert first != noisy.see(exact=True)


def test_repeating_it_all_does_not_average_the_noise_out(tmp_path: Path) -> None:
    looks = []
    for name in "xy":
        world = World(tmp_path / f"{name}.sqlite", Rule(epsilon=0.5, wait_hours=0, key=b"k" * 32))
        world.count(200, "a")
        world.minute = DAY + 70
        looks.append(world.see())
        world.ledger.close()
    assert looks[0] == looks[1]


def test_noise_has_the_variance_that_epsilon_asks_for() -> None:
    from math import exp

    from service.noise import geometric

    for epsilon in (0.3, 1.0):
        drawn = [geometric(b"key", str(place), epsilon) for place in range(20_000)]
        a = exp(-epsilon)
        variance = sum(n * n for n in drawn) / len(drawn)
        assert abs(sum(drawn) / len(drawn)) < 0.1
        assert variance == pytest.approx(2 * a / (1 - a) ** 2, rel=0.05)
        share = drawn.count(0) / len(drawn)
        assert share == pytest.approx((1 - a) / (1 + a), abs=0.02)


def test_two_replicas_tell_the_same(where: Where) -> None:
    now = DAY * 60.0
    with where.open(clock=lambda: now) as one, where.open(clock=lambda: now) as two:
        readers = [Windows(each, Disclosure(each, Rule(), lambda model: 2), lambda: now) for each in (one, two)]
        for each, n in ((one, 9), (two, 8)):
            for _ in range(n):
                each.record(Event("m", DAY, 1, 1, each.admit("m", "a")))
            each.flush()
        now += 4000
        assert [sum(reader.read("m", "1h", exact=False).cells.values()) for reader in readers] == [17, 17]
