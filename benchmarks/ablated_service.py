"""`python -m service` without one of its parts: python -m benchmarks.ablated_service PART OPTIONS...

A part is taken out of the composition before the service starts; the service itself has no switch for it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from service import hot_path, server
from service.__main__ import main
from service.control import leave

PARTS: dict[str, tuple[object, str, Callable[..., object]]] = {
    "fast path": (hot_path.PredictFastPath, "model", lambda self, scope: None),
    "garbage settings": (server, "settle", lambda: None),
}
"""What can be taken out: where it is, its name there, and what stands in its place."""

if __name__ == "__main__":
    setattr(*PARTS[sys.argv[1]])
    leave(main(sys.argv[2:]))
