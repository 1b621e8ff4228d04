"""Which inference process computes a request: the one with the fewest rows in work, when there is room for its rows.

The whole request goes there. When that process dies the request is sent to another one, once: computing it again
changes nothing, since it is counted when it is answered.
"""

from __future__ import annotations

from collections.abc import Sequence

from service.engine.admission_control import Places
from service.workers.engine_client import Link
from service.workers.engine_pool import Links


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
        """Room for `rows` until it is given back. Raises Overloaded if there is none."""
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
    """One request's room at the process of `link`."""

    def __init__(self, all_of_model: Assignments, link: Link, rows: int) -> None:
        self._all, self._rows = all_of_model, rows
        self._place = all_of_model.places[link].place(rows)
        self._moved = False
        self.link = link

    def move(self) -> None:
        """Go to another process, if that was not done before. Raises Restarting or Overloaded if that cannot be."""
        if self._moved:
            raise self.link.restarting()
        other = self._all.other(self.link)
        place = self._all.places[other].place(self._rows)
        self._place.give_back()
        self.link, self._place, self._moved = other, place, True

    def give_back(self) -> None:
        """The request is done."""
        self._place.give_back()
