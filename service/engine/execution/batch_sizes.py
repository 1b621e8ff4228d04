"""Batch sizes that a forward pass is prepared for: powers of two, and the largest batch itself."""

from __future__ import annotations

from bisect import bisect_left


class BatchSizes:
    """Sizes 1, 2, 4, ... up to `largest`; a batch is padded to the next one."""

    def __init__(self, largest: int) -> None:
        powers = (1 << power for power in range(largest.bit_length()))
        self.sizes = (*(size for size in powers if size < largest), largest)

    @property
    def largest(self) -> int:
        """Rows of the largest batch."""
        return self.sizes[-1]

    def round_up(self, rows: int) -> int:
        """The smallest size that holds `rows`, which are at most `largest`."""
        return self.sizes[bisect_left(self.sizes, rows)]
