"""`python -m service` without one of its parts: python -m benchmarks.ablated_service PART OPTIONS...

A part is taken out of the composition before the service starts; the service itself has no switch for it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from service.__main__ import main
from service.server import http_server, predict_fast_path
from service.workers import exit_now

PARTS: dict[str, tuple[object, str, Callable[..., object]]] = {
    "fast path": (predict_fast_path.PredictFastPath, "model", lambda self, scope: None),
    "garbage settings": (http_server, "freeze_gc", lambda: None),
}
"""What can be taken out: where it is, its name there, and what stands in its place."""

if __name__ == "__main__":
    setattr(*PARTS[sys.argv[1]])
    exit_now(main(sys.argv[2:]))
