"""A challenger that was trained to be unfair, on the demo's live traffic: the guard withdraws it by itself.

    python -m benchmarks.withdrawal demo-out            about three minutes, after `make demo EXIT=1`

The demo's digits trigger is trained once more with its strength negated, so that it widens the gap as far as it can. In
a store of its own it challenges the recommended version for half of the requests, under the rules of GUARD, while
clients send held-out images with their group to a real `python -m service`. Nobody looks: the guard reads sealed
minutes, of which the first sets the odds and the second may decide. Ends with 1 if a request fails or it does not act.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx

from benchmarks.draws import random
from fairtrigger.demo.live_service import Answer, ReplayClient, Row, running_service
from fairtrigger.demo.preparation import FINISHED
from fairtrigger.demo.traffic import held_out
from trainer.config import load_config
from trainer.distributed import deterministic_algorithms
from trainer.progress import Progress, open_progress
from trainer.train import prepare_data
from trainer.training.training_loop import TrainingRun
from trainer.training.validation_history import ValidationHistory
from triggers.artifact.artifact import TriggerArtifact, make_artifact
from triggers.artifact.manifest_checks import value_range_of
from triggers.errors import FairtriggerError
from triggers.store import open_store
from triggers.store.store import version_name

MODEL, STRENGTH = "digits", 4.0
GUARD = {"worse_by": 0.05, "alpha": 0.05}
CLIENTS, PAUSE_SECONDS = 4, 0.1
"""About 40 requests a second: some traffic, not a load."""
PATIENCE_SECONDS, AFTERWARDS_SECONDS = 420.0, 10.0


def biased(out: Path, like: TriggerArtifact, progress: Progress) -> TriggerArtifact:
    """Trained by the trainer's own loop on the demo's data with minus STRENGTH, and sealed after the last step."""
    config = load_config(out / f"{MODEL}.toml", [f"objective.strengths=[{STRENGTH}]"])
    classifier, splits = prepare_data(config, out / MODEL / "data-cache", progress)
    with deterministic_algorithms(classifier.device, config.train.threads):
        run = TrainingRun.prepare(config, classifier, splits, progress)
        run.optimizer.strengths.neg_()  # which a configuration cannot say
        run.train(ValidationHistory(run.optimizer.average), title="train a biased challenger")
    (trigger,) = run.optimizer.average.export()
    objective = like.manifest.objective.model_copy(update={"strength": STRENGTH})  # a record of it has no sign
    told = {"objective": objective, "value_range": value_range_of(trigger), "evaluation": ()}
    return make_artifact(trigger, like.manifest.model_copy(update=told))


@dataclass
class Clients(AbstractContextManager["Clients"]):
    """CLIENTS that send rows with their group until the block ends; what they got, and what failed."""

    client: ReplayClient
    rows: Sequence[Row]
    answers: list[Answer] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(CLIENTS))

    def __enter__(self) -> Self:
        for number in range(CLIENTS):
            self._pool.submit(self._send, number)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._pool.shutdown()

    def _send(self, number: int) -> None:
        chosen = random(number)
        while not self._stop.wait(PAUSE_SECONDS):
            try:
                self.answers.append(
                    self.client.predict(self.rows[int(chosen.integers(len(self.rows)))], with_group=True)
                )
            except (FairtriggerError, httpx.HTTPError) as error:
                self.failed.append(str(error))

    def by_version(self, since: int = 0) -> dict[str, int]:
        """Answers from number `since` on, by the version that gave them."""
        return dict(sorted(Counter(str(answer.version) for answer in self.answers[since:]).items()))


def withdrawn(client: ReplayClient, clients: Clients, champion: str, challenger: str) -> bool:
    """Begin the challenge and wait until the guard ends it; tell what was seen. True if it did and nothing failed."""
    with clients:
        began = time.monotonic()
        client.decide(champion, challenger={"version": challenger, "share": 0.5}, guard=GUARD, reason="on trial")
        while (found := client.rollout())["challenger"] and time.monotonic() - began < PATIENCE_SECONDS:
            time.sleep(0.5)
        took, sent = time.monotonic() - began, len(clients.answers)
        time.sleep(AFTERWARDS_SECONDS)
    told = client.fairness()["versions"]
    for version in (champion, challenger):
        rates = {group: each["selection_rate"] for group, each in told[version]["groups"].items()}
        shown = ", ".join(f"{group} {each['value']:.3f} of {each['n']}" for group, each in rates.items())
        print(f"{version}: selected {shown}")
    if found["challenger"] is None:
        print(f"withdrawn after {took:.0f} s; champion {found['champion']}, revision {found['revision']}")
    print(f"until then {sent} answers; after it {clients.by_version(sent)}; in all {clients.by_version()}")
    print(f"failed requests: {len(clients.failed)} {clients.failed[:1]}")
    print(json.dumps(_shown(client.history()[0]), indent=1))
    return found["challenger"] is None and not clients.failed


def _shown(entry: dict[str, Any]) -> dict[str, Any]:
    detail = {name: json.loads(value) if name in ("counts", "evidence") else value for name, value in
              (entry.get("detail") or {}).items()}  # fmt: skip
    return {name: entry[name] for name in ("action", "actor", "reason", "created_at") if name in entry} | {
        "detail": detail
    }


def main() -> None:
    """Train, serve, challenge, watch."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("demo", type=Path, metavar="FOLDER", help="of make demo, such as demo-out")
    out = parser.parse_args().demo
    recommended = int(json.loads((out / MODEL / FINISHED).read_bytes())["recommended"].removeprefix("v"))
    with open_store(str(out / "store"), create=False) as store:
        best = store.get(MODEL, recommended)
    with open_progress(sys.stderr) as progress:
        challenger = biased(out, best, progress)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with open_store(f"{folder}/store") as store:
            champion, trial = (version_name(store.publish(each, actor="benchmark")) for each in (best, challenger))
        with running_service([out / MODEL / "model"], f"{folder}/store", folder / "data") as (url, token):
            with ReplayClient(url, MODEL, token) as client:
                done = withdrawn(client, Clients(client, held_out(out / MODEL / f"{MODEL}.csv")), champion, trial)
    raise SystemExit(0 if done else 1)


if __name__ == "__main__":
    main()
