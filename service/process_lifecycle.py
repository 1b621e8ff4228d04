"""When Python looks for garbage: seldom, and never through what lives as long as the process."""

from __future__ import annotations

import gc

YOUNG = 10_000
"""Objects made since the last time that are looked through; Python's own 700 are a dozen requests."""


def settle() -> None:
    """Call it when what was made until now will stay: looking through torch alone stops every request for 200 ms."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 20, 20)  # hundreds of requests in flight are not garbage
