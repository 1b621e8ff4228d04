"""What everybody may see: attacks by small cells, differences and repeats learn nothing that was not disclosed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import exp
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from service.fairness.disclosure import Disclosure, DisclosureRule, OutcomeKey, finest_safe, marginalise, with_noise
from service.fairness.privacy_noise import geometric_noise, largest_sum
from service.fairness.time_windows import TimeWindows
from service.ledger.backend import Release
from service.ledger.events import Cell, Feedback, PredictionEvent
from service.ledger.ledger import Ledger
from tests.service.counted import NEVER
from tests.service.stores import Where
from triggers.errors import InputError

K = 11
DAY = 1_790_000_000 // 86400 * 1440  # first minute of a day


@dataclass
class World:
    """A ledger at a moment that the test sets, and what somebody without the token reads from it."""

    path: Path
    rule: DisclosureRule = field(default_factory=lambda: DisclosureRule(wait_hours=0))
    minute: int = DAY

    def __post_init__(self) -> None:
        clock = lambda: self.minute * 60.0 + 20  # noqa: E731
        self.ledger = Ledger(self.path, flush_interval=NEVER, clock=clock)
        self.open(self.rule)

    def open(self, rule: DisclosureRule) -> None:
        """Read as from a service that was started with this rule."""
        clock = lambda: self.minute * 60.0 + 20  # noqa: E731
        self.windows = TimeWindows(self.ledger, Disclosure(self.ledger, rule, lambda model: 2), clock)

    def count(
        self, n: int, group: str, h: int = 1, bare: int | None = None, version: int | None = 1
    ) -> list[PredictionEvent]:
        name = self.ledger.canonical_group("m", group)
        events = [PredictionEvent("m", self.minute, version, h, name, bare) for _ in range(n)]
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


def test_a_window_is_read_from_the_store_once_for_each_disclosure(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = list[tuple[int, int]]()
    releases = world.ledger.releases

    def counted(model: str, size: int, since: int, until: int) -> dict[int, Release]:
        read.append((since, until))
        return releases(model, size, since, until)

    monkeypatch.setattr(world.ledger, "releases", counted)
    world.count(50, "a")
    world.minute = DAY + 70
    assert world.groups("24h") == {"a": 50}
    first = len(read)
    for window in ("24h", "24h", "7d", "24h", "7d"):
        assert world.groups(window) == {"a": 50}
    assert len(read) == first + 1, "one reading of 7d and none of 24h"
    world.count(30, "a")
    world.minute = DAY + 130
    assert world.groups("24h") == {"a": 80} == world.groups("7d")
    world.minute = DAY + 130 + 1440
    assert world.groups("24h") == {} and world.groups("7d") == {"a": 80}


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


def test_labels_are_told_without_the_bare_prediction_where_only_that_is_rare() -> None:
    """Every level of detail is tried in its order, and the next one gives up no more than it must."""
    flips: dict[OutcomeKey, int] = {(0, 0, 0): 20, (0, 1, 1): 15, (1, 1, 1): 30, (1, 1, 0): 1}
    assert finest_safe(flips | {(1, 1, 0): K}, K) == flips | {(1, 1, 0): K}
    assert finest_safe(flips, K) == {(0, 0, None): 20, (0, 1, None): 15, (1, 1, None): 31}
    assert finest_safe(flips | {(0, 1, 1): 1}, K) == {(None, 0, None): 20, (None, 1, None): 32}
    assert finest_safe(flips | {(0, 0, 0): 1}, K) == {}


def test_short_windows_are_for_operators(world: World) -> None:
    for window in ("5m", "15m"):
        with pytest.raises(InputError, match="1h, 6h, 24h"):
            world.see(window)
        assert world.see(window, exact=True) == {}


def test_late_labels_are_seen_that_came_in_time_and_no_others(tmp_path: Path) -> None:
    """Looking every few minutes and subtracting shows nothing arrive."""
    world = World(tmp_path / "ledger.sqlite", DisclosureRule(wait_hours=2))
    events = world.count(60, "a", 1)
    looks = []
    for n, event in enumerate(events):
        world.minute = DAY + 70 + 3 * n  # the last comes 4 hours after the first
        world.ledger.feedback([Feedback(event, n % 2)])
        looks.append(world.see())
    told = [look for look in looks if look]
    assert told[0] == told[-1] and len(told) > 20
    assert {cell[4:]: n for cell, n in told[0].items()} == {(None, 1, None): 21, (0, 1, None): 20, (1, 1, None): 19}
    world.ledger.close()


def test_a_late_group_is_not_told_by_the_difference_of_two_parts(world: World) -> None:
    """Twelve leave `unknown` for a group that can be told, one for a group that cannot: 13 - 12 would be that one."""
    events = world.count(50, "unknown")
    world.minute = DAY + 70
    before = world.see()
    world.ledger.feedback([Feedback(event, group="a") for event in events[:12]])
    world.ledger.feedback([Feedback(events[12], group="tiny")])
    world.minute += 2
    assert world.see() == before and world.groups() == {"unknown": 50}


def test_a_thousand_looks_write_one_table(world: World) -> None:
    events = world.count(200, "a", 1)
    world.minute = DAY + 70
    for event in events:
        world.minute += 1
        world.ledger.feedback([Feedback(event, 1)])
        world.see()
    (release,) = world.ledger.releases("m", 60, 0, 2**31).values()
    assert release.revision == 1 and len(release.text) < 100


def test_a_clock_that_ran_ahead_and_was_put_back_hides_nothing_for_good(world: World) -> None:
    world.minute = DAY + 400 * 1440
    assert world.see() == {}
    world.minute = DAY
    world.count(50, "a")
    world.minute = DAY + 70
    assert world.groups() == {"a": 50}


@pytest.mark.parametrize(("before", "after"), [(1, 24), (24, 1)])
def test_another_length_of_periods_tells_nothing_twice(world: World, before: int, after: int) -> None:
    """A day minus the hours of it that were told would be the people who were too few in their hour."""
    for n in (30, 5, 40):
        world.count(n, "a")
        world.minute += 60
    world.open(DisclosureRule(wait_hours=0, hours=before))
    world.minute = DAY + 1445
    told = world.groups("7d")
    world.open(DisclosureRule(wait_hours=0, hours=after))
    assert told and world.groups("7d") == {}
    world.minute += 60
    world.count(50, "a")
    world.minute += 1440
    assert world.groups("7d") == {"a": 50}


def test_what_an_earlier_version_told_stays_as_it_was(where: Where) -> None:
    """It wrote a table whenever one was safe; the last of each group holds."""
    now = DAY * 60.0
    old = '[[1,"a",[[[null,1,null,20]],[[null,1,null,8],[1,1,null,12]]]]]'
    with where.open(clock=lambda: now) as ledger:
        for _ in range(33):
            ledger.record(PredictionEvent("m", DAY, 1, 1, ledger.canonical_group("m", "a")))
        ledger.flush()
        ledger.release("m", 60, DAY, Release(3, old))
        now += 4000
        reader = TimeWindows(
            ledger, Disclosure(ledger, DisclosureRule(epsilon=1.0, wait_hours=0), lambda model: 2), lambda: now
        )
        cells = reader.read("m", "1h", exact=False).cells
        assert {cell[4:]: n for cell, n in cells.items()} == {(None, 1, None): 8, (1, 1, None): 12}
        assert ledger.releases("m", 60, DAY, DAY + 60) == {DAY: Release(3, old)}


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
@given(counts)
def test_a_table_is_safe_in_every_margin(exact: dict[OutcomeKey, int]) -> None:
    told = finest_safe(exact, K)
    for axes in ((), (0,), (1,), (2,), (0, 1), (1, 2), (0, 2), (0, 1, 2)):
        assert all(n == 0 or n >= K for n in marginalise(told, axes).values())
    assert not told or sum(told.values()) == sum(exact.values())


# ---- with noise ------------------------------------------------------------------------------------------------


def table(n: int) -> dict[OutcomeKey, int]:
    """So many unlabelled predictions of 1."""
    return {(None, 1, None): n}


@pytest.fixture
def noisy(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path / "noisy.sqlite", DisclosureRule(epsilon=0.5, wait_hours=2, key=b"k" * 32))
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
        world = World(tmp_path / f"{name}.sqlite", DisclosureRule(epsilon=0.5, wait_hours=0, key=b"k" * 32))
        world.count(200, "a")
        world.minute = DAY + 70
        looks.append(world.see())
        world.ledger.close()
    assert looks[0] == looks[1]


def test_noise_has_the_variance_that_epsilon_asks_for() -> None:
    for epsilon in (0.3, 1.0):
        drawn = geometric_noise(b"key", "place", epsilon, 20_000)
        a = exp(-epsilon)
        variance = sum(n * n for n in drawn) / len(drawn)
        assert abs(sum(drawn) / len(drawn)) < 0.1
        assert variance == pytest.approx(2 * a / (1 - a) ** 2, rel=0.05)
        share = drawn.count(0) / len(drawn)
        assert share == pytest.approx((1 - a) / (1 + a), abs=0.02)


def test_equal_counts_have_equal_noise_and_others_another() -> None:
    rule, place = DisclosureRule(epsilon=0.5, key=b"k" * 32), ["m", 60, DAY, 1, "a"]
    hundred, more = table(100), table(101)
    one, again, other = (with_noise(each, 2, rule, place) for each in (hundred, hundred, more))
    assert one == again
    assert {key: other.get(key, 0) - one.get(key, 0) for key in one} not in ({}, table(1))


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 5.0])
@pytest.mark.parametrize("cells", [1, 6, 110])
def test_the_largest_sum_is_exceeded_no_more_often_than_delta(epsilon: float, cells: int) -> None:
    """Against the exact distribution of the sum, by its Fourier transform."""
    bound = largest_sum(cells, epsilon, 1e-4)
    size = 2 ** (4 * bound).bit_length()
    a, x = exp(-epsilon), np.fft.fftfreq(size, 1 / size)
    one = (1 - a) / (1 + a) * a ** np.abs(x)
    total = np.fft.ifft(np.fft.fft(one) ** cells).real
    tail = total[(x >= bound)].sum()
    assert 1e-7 < tail <= 1e-4


def test_somebody_who_made_all_the_others_learns_no_more_than_epsilon_says() -> None:
    """The best guess at whether a victim got this answer, from its cell: no event is exp(epsilon) likelier with it."""
    epsilon, own = 1.0, 40
    seen = {}
    for victim in (0, 1):
        exact = table(own + victim)
        rules = (DisclosureRule(epsilon=epsilon, key=key.to_bytes(4)) for key in range(6000))
        seen[victim] = Counter(
            sum(n for key, n in with_noise(exact, 2, rule, ["m"]).items() if key[1] == 1) for rule in rules
        )
    for n in range(own - 3, own + 4):
        with_victim, without = (sum(k for told, k in seen[each].items() if told > n) for each in (1, 0))
        assert without / exp(epsilon) < 1.1 * with_victim and with_victim < 1.1 * exp(epsilon) * without
        assert with_victim < 5900


def test_which_groups_versions_and_periods_there_are_is_not_told_by_one_person(noisy: World) -> None:
    for hour in range(3):
        noisy.count(1, "the only one", version=7)
        noisy.count(K + 1, "few")
        if hour != 1:
            noisy.count(300, "a")
        noisy.minute += 60
    noisy.minute += 200
    assert {(cell.version, cell.group) for cell in noisy.see()} == {(1, "a")}
    assert len({cell.minute for cell in noisy.windows.series("m", "24h", 60, exact=False).cells}) == 2


def test_labels_that_nobody_sent_are_not_told(noisy: World) -> None:
    noisy.count(300, "a")
    for event in noisy.count(300, "b"):
        noisy.ledger.feedback([Feedback(event, 0)])
    noisy.minute = DAY + 200
    labels = {cell.group: set[int | None]() for cell in noisy.see()}
    for cell in noisy.see():
        labels[cell.group].add(cell.label)
    assert labels["a"] == {None} and 0 in labels["b"]


def test_many_labels_are_told_as_predictions() -> None:
    exact: dict[OutcomeKey, int] = {(1, 7, None): 900, (None, 8, None): 900}
    told = with_noise(exact, 1000, DisclosureRule(epsilon=1.0, key=b"k"), ["m"])
    assert {label for label, _, _ in told} == {None} and abs(told[None, 7, None] - 900) < 20


def test_noise_over_many_hours_does_not_add_up_to_people(noisy: World) -> None:
    """Cells are summed with their sign; cut off at zero one by one, 100 empty ones would be some hundred people."""
    for _ in range(100):
        noisy.count(100, "a", 1)
        noisy.minute += 60
    noisy.minute += 130
    told = Counter[int]()
    for cell, n in noisy.see("7d").items():
        told[cell.prediction] += n
    assert told[0] < 150 and abs(told[1] - 10_000) < 150


def test_two_replicas_tell_the_same(where: Where) -> None:
    now = DAY * 60.0
    with where.open(clock=lambda: now) as one, where.open(clock=lambda: now) as two:
        rule = DisclosureRule(wait_hours=0)
        readers = [TimeWindows(each, Disclosure(each, rule, lambda model: 2), lambda: now) for each in (one, two)]
        for each, n in ((one, 9), (two, 8)):
            for _ in range(n):
                each.record(PredictionEvent("m", DAY, 1, 1, each.canonical_group("m", "a")))
            each.flush()
        now += 4000
        assert [sum(reader.read("m", "1h", exact=False).cells.values()) for reader in readers] == [17, 17]
