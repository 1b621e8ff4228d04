"""Chaos: two HTTP processes under load, one fault after the other, SOAK_SECONDS for each kind of store; -s shows it.

Whatever happens, no request waits longer than 5 s, /healthz is in time, all is ready again 10 s after a fault, and what
was answered was counted, but for what an HTTP process that is killed had not written yet (`flush_seconds`).
"""

from __future__ import annotations

import base64
import http.client
import itertools
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from benchmarks.life import alive, descendants
from benchmarks.life_models import body, sleeping_bundle
from tests.artifacts import artifact_for
from tests.redis_servers.server import RedisServer
from tests.service.live import ADMIN, Process, process
from tests.soak.faults import Fault, children, disk, holds, of_processes, of_redis, state
from tests.soak.traffic import ANSWER_SECONDS, BROKEN, GROUPS, REFUSED, UNANSWERED, Traffic, ask, summary, traffic
from triggers.model import load_bundle
from triggers.store.store import open_store

pytestmark = [pytest.mark.soak, pytest.mark.slow, pytest.mark.timeout(0)]
SECONDS = float(os.environ.get("SOAK_SECONDS", "60"))
READY_SECONDS, PATIENCE_SECONDS, CALM_SECONDS = 10.0, 25.0, 2.0
"""Until all must be ready; until a fault that nobody mends is taken back; between two faults."""
FLUSH_SECONDS = 0.5
WORKERS = 2
GUARD = {"max_disparity": 0.9, "action": "alarm"}
STATED = {200, 503, 504}
"""Statuses that are an answer; 412 too for a change that met another."""


@dataclass
class Timeline:
    """What happened, printed as it happens, and what should not have."""

    began: float = field(default_factory=time.monotonic)
    wrong: list[str] = field(default_factory=list)
    breaking: list[tuple[float, float]] = field(default_factory=list)  # connections may break then
    down: list[tuple[float, float]] = field(default_factory=list)  # nobody need listen then
    losing: list[float] = field(default_factory=list)  # an HTTP process was killed or stopped

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self.began:7.1f} s  {text}", flush=True)

    def fail(self, text: str) -> None:
        self.wrong.append(text)
        self.say(f"WRONG: {text}")

    def judge(self) -> None:
        """Fail the test by all that went wrong."""
        if self.wrong:
            pytest.fail("\n".join(self.wrong), pytrace=False)


@contextmanager
def started(folder: Path, port: int, **options: object) -> Iterator[Process]:
    chosen: dict[str, object] = {
        "port": port,
        "devices": "cpu",
        "http_workers": WORKERS,
        "guard": json.dumps(GUARD),
        "guard_seconds": 1,
        "drain_seconds": 0.2,
        "flush_seconds": FLUSH_SECONDS,
        "torch_threads": 1,
    }
    with process(folder, [folder / "faces"], **(chosen | options)) as service:
        try:
            yield service
        finally:
            for pid in descendants(service.popen.pid) if service.popen.poll() is None else ():
                os.kill(pid, signal.SIGKILL)


def whole(service: Process, address: str) -> bool:
    """Every process is there and running, says that it is ready, and a prediction is answered."""
    supervisor = service.popen.pid
    found = [*children(supervisor, "inference"), *children(supervisor, "HTTP")]
    if len(found) != 1 + WORKERS or any(state(pid) in ("", "T", "Z") for pid in found):
        return False
    return all_answer(children(supervisor, "HTTP"), address, "/readyz") and predicted(address)


def all_answer(pids: Sequence[int], address: str, path: str) -> bool:
    """Whether each of these processes answers 200: connections are opened until each has one, at most 40."""
    port = int(address.rpartition(":")[2])
    with ExitStack() as opened:
        mine: set[int] = set()
        for _ in range(40):
            connection = opened.enter_context(closing(http.client.HTTPConnection(address, timeout=1.0)))
            try:
                connection.request("GET", path)
                reply = connection.getresponse()
                reply.read()
            except (OSError, http.client.HTTPException):
                return False
            if reply.status != 200:
                return False
            mine.add(connection.sock.getsockname()[1])
            if all(holds(pid, port, mine) for pid in pids):
                return True
    return False


def predicted(address: str) -> bool:
    """Whether a prediction, which is not counted into a group that is looked at, is answered."""
    headers = {"Content-Type": "application/json"}
    return ask(address, "POST", "/v1/models/faces/predict", body(), **headers)[0] == 200


def ready_after(service: Process, address: str, since: float) -> float | None:
    """Seconds from `since` until the service is whole; None if that takes too long."""
    while time.monotonic() - since < PATIENCE_SECONDS:
        if whole(service, address):
            return time.monotonic() - since
        time.sleep(0.1)
    return None


def befall(service: Process, address: str, fault: Fault, seen: Traffic, timeline: Timeline) -> None:
    """Let it happen, wait until all is well, and say what clients saw of it."""
    timeline.say(fault.name)
    begin = time.monotonic()
    if fault.breaks:
        timeline.losing.append(begin)
    fault.begin()
    time.sleep(fault.seconds)
    fault.end()
    ended = time.monotonic()
    seconds = ready_after(service, address, ended)
    if seconds is None or seconds > READY_SECONDS:
        late = "not ready" if seconds is None else "ready only"
        timeline.fail(f"{fault.name}: {late} after {seconds or PATIENCE_SECONDS:.1f} s")
    if seconds is None:
        rescue(service, timeline)
    if fault.breaks:
        timeline.breaking.append((begin - ANSWER_SECONDS, time.monotonic()))
    healed = f"ready after {seconds:.1f} s" if seconds is not None else "given up"
    timeline.say(f"  {healed}; {summary(seen.between(begin, time.monotonic()))}")
    time.sleep(CALM_SECONDS)


def rescue(service: Process, timeline: Timeline) -> None:
    """Let what is stopped go on, so that the other faults can be tried."""
    for pid in [service.popen.pid, *descendants(service.popen.pid)]:
        if state(pid) == "T":
            timeline.say(f"  SIGCONT to {pid}, which was stopped and left so")
            os.kill(pid, signal.SIGCONT)


def kill_the_supervisor(service: Process, timeline: Timeline) -> None:
    timeline.say("SIGKILL the supervisor")
    family, begin = descendants(service.popen.pid), time.monotonic()
    service.popen.kill()
    service.popen.wait()
    while living := [pid for pid in family if alive(pid)]:
        if time.monotonic() - begin > READY_SECONDS:
            timeline.fail(f"{len(living)} children outlive their supervisor")
            for pid in living:
                os.kill(pid, signal.SIGKILL)
            break
        time.sleep(0.05)
    timeline.say(f"  its children ended after {time.monotonic() - begin:.1f} s")


def judge_answers(seen: Traffic, timeline: Timeline) -> None:
    """Every request was answered in time, with a status that states something."""
    wrong: dict[str, list[float]] = {}
    for answer in seen.answers:
        down = any(begin <= answer.at <= end for begin, end in timeline.down)
        breaking = down or any(begin <= answer.at <= end for begin, end in timeline.breaking)
        fine = answer.outcome in STATED or (answer.outcome == 412 and answer.kind == "PUT rollout")
        if answer.kind == "/healthz":
            fine = answer.outcome == 200
        fine = (fine and answer.seconds <= ANSWER_SECONDS) or (answer.outcome == BROKEN and breaking)
        if not fine and not (down and answer.outcome in (REFUSED, UNANSWERED)):
            wrong.setdefault(f"{answer.kind}: {answer.outcome}", []).append(answer.at - timeline.began)
    for name, times in sorted(wrong.items()):
        timeline.fail(f"{name}, {len(times)} times, at {', '.join(f'{at:.1f}' for at in times[:8])} s")


def judge_counts(address: str, seen: Traffic, timeline: Timeline) -> None:
    """No group has more counts than requests that may have been counted, nor fewer than those that must be."""
    asked = [answer for answer in seen.answers if answer.kind == "predict"]
    lost_by = 2 * FLUSH_SECONDS
    for group in GROUPS:
        mine = [answer for answer in asked if answer.group == group]
        answered = [answer for answer in mine if answer.outcome == 200]
        unsure = sum(answer.outcome in (BROKEN, UNANSWERED, 504) for answer in mine)
        at_risk = sum(any(at - lost_by < a.at + a.seconds <= at + 0.2 for at in timeline.losing) for a in answered)
        counted = _settled_count(address, group, len(answered))
        text = (
            f"group {group}: {len(answered)} answered, {counted} counted, {unsure} unsure; "
            f"{len(timeline.losing)} losses of HTTP processes may cost at most {at_risk}"
        )
        timeline.say(text)
        if not len(answered) - at_risk <= counted <= len(answered) + unsure:
            timeline.fail(text)


def _settled_count(address: str, group: str, wanted: int) -> int:
    """The count when it is reached, or after some seconds."""
    found, end = -1, time.monotonic() + 10
    while found < wanted and time.monotonic() < end:
        outcome, answer = ask(address, "GET", "/v1/models/faces/fairness?by=total", None, **ADMIN)
        if outcome == 200:
            found = json.loads(answer)["versions"]["total"]["groups"].get(group, {}).get("n", 0)
        time.sleep(0.2)
    return found


def run(folder: Path, options: dict[str, object], more: Callable[[int], list[Fault]], timeline: Timeline) -> None:
    """Faults of processes and `more` in turn for SECONDS, then the supervisor's death, a new start, and the books."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    address = f"127.0.0.1:{port}"
    timeline.say("starting")
    with started(folder, port, **options) as service, traffic(address, clients=6) as seen:
        end = time.monotonic() + SECONDS
        time.sleep(CALM_SECONDS)
        for fault in itertools.cycle([*more(service.popen.pid), *of_processes(service.popen.pid)]):
            if time.monotonic() > end:
                break
            befall(service, address, fault, seen, timeline)
        down = time.monotonic()
        kill_the_supervisor(service, timeline)
        with started(folder, port, **options) as again:
            if ready_after(again, address, time.monotonic()) is None:
                timeline.fail("not ready after a new start")
            timeline.down.append((down - ANSWER_SECONDS, time.monotonic()))
            timeline.say("  started anew")
            time.sleep(CALM_SECONDS)
            seen.finish()
            timeline.say(f"in all: {summary(seen.answers)}")
            judge_answers(seen, timeline)
            judge_counts(address, seen, timeline)
            end_in_order(again, timeline)


def end_in_order(service: Process, timeline: Timeline) -> None:
    """SIGTERM: exit status 0, and no process is left."""
    family = descendants(service.popen.pid)
    if status := service.stop():
        timeline.fail(f"exit status {status} after SIGTERM")
    if left := [pid for pid in family if alive(pid)]:
        timeline.fail(f"{len(left)} processes left after SIGTERM")


def publish(folder: Path, store: str) -> None:
    """The bundle `faces` and two versions."""
    bundle = load_bundle(sleeping_bundle(folder / "faces", 0.005))
    with open_store(store) as opened:
        for seed in range(2):
            opened.publish(artifact_for(bundle, "border", seed), actor="test")


def test_with_files_on_a_disk_that_fills_up(tmp_path: Path) -> None:
    timeline = Timeline()
    with disk(tmp_path / "disk") as place:
        if not place.real:
            timeline.say("mounting is not allowed here: RLIMIT_FSIZE stands for a full disk")
        publish(tmp_path, str(place.folder / "store"))
        options: dict[str, object] = {"store": place.folder / "store", "data_dir": place.folder / "data"}
        run(tmp_path, options, lambda supervisor: [place.fault(supervisor)], timeline)
    timeline.judge()


def test_with_redis_that_hangs_and_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timeline, server = Timeline(), RedisServer(tmp_path, durable=True)
    try:
        publish(tmp_path, server.url)
        monkeypatch.setenv("FAIRTRIGGER_RECEIPT_KEYS", base64.b64encode(bytes(range(32))).decode())
        options: dict[str, object] = {"store": server.url, "ledger": server.url[:-1] + "1"}
        run(tmp_path, options, lambda _: of_redis(server), timeline)
    finally:
        server.resume()
        server.kill()
    timeline.judge()
