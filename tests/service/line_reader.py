"""A child process of tests that reads its line late, and says when every link has come."""

from __future__ import annotations

import sys
import threading

from service.control import Control

LINKS = 350
"""More than a line holds."""


def main() -> None:
    """`python -m tests.service.line_reader LINE`."""
    control, numbers = Control(int(sys.argv[1])), []
    for _ in range(LINKS):
        offer = control.next_link()
        assert offer
        offer.connection.close()
        numbers.append(offer.process)
    control.ready("all" if numbers == list(range(LINKS)) else "not all")
    threading.Event().wait()


if __name__ == "__main__":
    main()
