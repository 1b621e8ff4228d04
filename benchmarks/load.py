"""Load from wrk, one thread: fixed bodies sent in turn over kept connections, as fast as answers come."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "{media}"
local requests, n = {{}}, 0
function init(args)
  for _, path in ipairs(args) do
    local file = assert(io.open(path, "rb"))
    requests[#requests + 1] = wrk.format(nil, nil, nil, file:read("*a"))
    file:close()
  end
end
function request()
  n = n % #requests + 1
  return requests[n]
end
function done(summary, latency)
  local e = summary.errors
  io.write(string.format(
    '\\nresult {{"requests": %d, "seconds": %f, "p50": %f, "p99": %f, "refused": %d, "broken": %d}}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e6, latency:percentile(99) / 1e6,
    e.status, e.connect + e.read + e.write + e.timeout))
end
"""


@dataclass(frozen=True)
class Load:
    """What came of one run: answers, seconds, latencies in seconds, answers that were errors, broken connections."""

    requests: int
    seconds: float
    p50: float
    p99: float
    refused: int = 0
    broken: int = 0

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds


def need_wrk() -> str:
    """The path of wrk. Ends the program, in one line, where there is none: before anything is built or started."""
    if not (wrk := shutil.which("wrk")):
        raise SystemExit("The load comes from wrk, which is not installed (Debian: apt-get install wrk).")
    return wrk


def load(
    url: str, bodies: Sequence[bytes], *, connections: int, seconds: float, media: str = "application/json"
) -> Load:
    """Send `bodies` in turn for `seconds`. Raises RuntimeError if any answer was an error."""
    wrk = need_wrk()
    with tempfile.TemporaryDirectory() as folder:
        script, paths = Path(folder, "load.lua"), [Path(folder, f"{n}.body") for n in range(len(bodies))]
        script.write_text(SCRIPT.format(media=media))
        for path, body in zip(paths, bodies, strict=True):
            path.write_bytes(body)
        command = [wrk, "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "-s", str(script), url, "--"]
        done = subprocess.run([*command, *map(str, paths)], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"wrk failed on {url}:\n{done.stdout}{done.stderr}")
    return checked(parse(done.stdout), url)


def parse(output: str) -> Load:
    """The line that the script prints at the end."""
    line = next(line for line in output.splitlines() if line.startswith("result "))
    return Load(**json.loads(line.removeprefix("result ")))


def checked(found: Load, url: str) -> Load:
    """The same, if it is a measurement at all: something was answered, and nothing failed."""
    if not found.requests or found.refused or found.broken:
        raise RuntimeError(f"{url} gave {found}: no figures from a server that fails.")
    return found
