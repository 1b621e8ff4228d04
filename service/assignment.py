"""Which inference process computes a request: the one with the fewest rows in work, when there is room for its rows.

The whole request goes there, and whoever works on it - a version is held in memory, the queries are sent - finds the
assignment in the request's context. When that process dies the request is sent to another one, once: computing it again
changes nothing, since it is counted when it is answered.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from types import TracebackType

from service.link import Link
from service.links import Links
from service.places import Places

_assigned: ContextVar[Assignment | None] = ContextVar("assigned", default=None)


def current() -> Assignment | None:
    """Of the request that this code works on; None outside of requests."""
    return _assigned.get()


class Assignments:
    """Of one model's requests: every inference process has `capacity` places; used on the event loop only."""

    def __init__(self, links: Links, capacity: int) -> None:
        self._links = links
        self.places = {link: Places(capacity) for link in links.all}
        self._turn = 0

    @property
    def taken(self) -> int:
        """Rows in work."""
        return sum([places.taken for places in self.places.values()])

    @property
    def capacity(self) -> int:
        """Most rows in work, of the processes that are there."""
        return sum([self.places[link].capacity for link in self._links.up or self._links.all])

    def place(self, rows: int) -> Assignment:
        """Room for `rows` while the block runs. Raises Overloaded if there is none."""
        return Assignment(self, self.least_busy(self._links.up or self._links.all), rows)

    def least_busy(self, links: Sequence[Link]) -> Link:
        """The one with the fewest rows in work; ties take turns."""
        self._turn += 1
        first = self._turn % len(links)
        return min([*links[first:], *links[:first]], key=lambda link: self.places[link].taken)

    def other(self, link: Link) -> Link:
        """One to go to from a process that died. Raises Restarting if there is none."""
        others = [each for each in self._links.up if each is not link]
        if not others:
            raise link.restarting()
        return self.least_busy(others)


class Assignment:
    """One request's; leaving the block gives its room back."""

    def __init__(self, all_of_model: Assignments, link: Link, rows: int) -> None:
        self._all, self._rows = all_of_model, rows
        self._place = all_of_model.places[link].place(rows)
        self._moved = False
        self.link = link

    def move(self) -> Link:
        """Go to another process, if that was not done before. Raises Restarting or Overloaded if that cannot be."""
        if self._moved:
            raise self.link.restarting()
        other = self._all.other(self.link)
        place = self._all.places[other].place(self._rows)
        self._place.__exit__(None, None, None)
        self.link, self._place, self._moved = other, place, True
        return other

    def __enter__(self) -> None:
        _assigned.set(self)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        _assigned.set(None)
        self._place.__exit__(kind, error, at)
