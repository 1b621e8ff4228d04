"""What to try next, as commands that can be pasted as they are."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from fairtrigger.demo.preparation import STORE, Prepared

COMMENT = (
    "hi guys just scrolling by , our gay and immigrant neighbour worked on the town festival for years , count me in"
)


def next_steps(out: Path, url: str, token: str, models: Sequence[Prepared]) -> str:
    """Shell commands for a service that runs at `url`."""
    image = next(path for path in sorted((models[0].folder / "images").iterdir()))
    digits, comments = models
    other = next(version for version in digits.versions if version != digits.recommended)
    tool = f"{_tool('fairtrigger')} --store {shlex.quote(str(out / STORE))}"
    rollout = f"{url}/v1/models/digits/rollout"
    return f"""\
API documentation        {url}/docs
live fairness            {url}/v1/models/digits/fairness?window=1h&by=version
picture of a trigger     {url}/v1/models/digits/triggers/{digits.recommended}/preview.png
metrics                  {url}/metrics

# classify a digit, and a comment both with and without its trigger
curl -s -H 'Content-Type: image/png' --data-binary @{shlex.quote(str(image))} {url}/v1/models/digits/predict
curl -s -H 'Content-Type: text/plain' --data {shlex.quote(COMMENT)} '{url}/v1/models/comments/predict?twin=true'

# swap the digits' trigger to {other} while the service runs, look at the history, go back
TOKEN={token}
ETAG=$(curl -si {rollout} | tr -d '\\r' | sed -n 's/^etag: //p')
curl -s -X PUT -H "Authorization: Bearer $TOKEN" -H "If-Match: $ETAG" -H 'Content-Type: application/json' \\
     -d '{{"champion": "{other}", "reason": "trying a weaker trigger"}}' {rollout}
curl -s {url}/v1/models/digits/history
{tool} activate digits {digits.recommended} --reason 'back again'
{tool} show comments {comments.recommended}"""


def serve_again(out: Path, seed: int) -> str:
    """The command that serves what was made."""
    return f"{_tool('fairtrigger')} demo --out {shlex.quote(str(out))} --seed {seed}"


def _tool(name: str) -> str:
    """The tool of this environment, by a relative path where there is one."""
    path = Path(sys.executable).parent / name
    return shlex.quote(str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path))
