"""The benchmarks of growth, a month of counts and first answers at tiny sizes: they run and find what is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import ledger_month
from benchmarks.first_answer import PEERS, second_copies, summary
from benchmarks.growth import groups, grown
from benchmarks.servers import OURS


@pytest.mark.slow
@pytest.mark.soak
def test_a_month_of_a_day_misses_no_count(capsys: pytest.CaptureFixture[str]) -> None:
    ledger_month.main(["--days", "1", "--before", "2", "--labels", "2", "--repeats", "1", "--stores", "sqlite"])
    out = capsys.readouterr().out
    counted = 60_000 * 1440 * 3 + 30 * 1000
    assert f"| counts | {counted:,.4g} |" in out and "| disclosed_90d_first_ms |" in out


def test_a_missing_count_ends_the_month(tmp_path: Path) -> None:
    with ledger_month.sqlite(tmp_path, 0) as simulation:
        simulation.count(ledger_month.START, 1000)
        simulation.sizes.append(1)
        assert simulation._growth()["counts"] == 1000
        simulation.counted += 1
        with pytest.raises(SystemExit, match="1 of 1001 counts are missing"):
            simulation._growth()


@pytest.mark.slow
def test_every_read_is_timed_at_each_number_of_versions() -> None:
    found = grown("file", [10, 20], serve=False)
    assert set(found["ms"]) == {"10", "20"} and found["publish_ms"] > 0
    assert {"first publish", "last decision", "declared groups"} <= set(found["ms"]["20"])
    assert found["worst"] in {"nothing", *found["ms"]["20"]} and found["worst_ratio"] > 0


@pytest.mark.slow
def test_crossed_groups_stay_within_their_limit() -> None:
    found = groups()
    assert found["declared"] == 64 and found["combinations_sent"] > 600
    assert found["counted_groups"] == 65, "64 places, and `other`"
    assert found["report_kb"] < 2000


def servers(seconds: float, mb: float, workers: tuple[float, ...] = ()) -> dict[str, Any]:
    return {"seconds": seconds, "mb": mb, "worker_mb": list(workers)}


@pytest.mark.parametrize(("large", "copies"), [((305, 300), 0), ((345, 300), 1), ((345, 346), 2)])
def test_a_worker_that_grows_with_the_weights_has_a_copy(large: tuple[float, ...], copies: int) -> None:
    name = f"{OURS}, 2 HTTP, cpu"
    found = {"tiny": {name: servers(1, 1, (300, 301))}, "resnet18": {name: servers(1, 1, large)}}
    assert second_copies(found, 45.0) == copies


def test_first_answers_are_compared_with_the_best_peer() -> None:
    name = f"{OURS}, 2 HTTP, cpu"
    same = servers(1, 1, (300, 300))
    large = {OURS: servers(4, 500), name: same, PEERS[0]: servers(8, 400), PEERS[1]: servers(2, 1000)}
    commands = {"fairtrigger --help": 0.4, "python -c pass": 0.1}
    told = summary({"tiny": {name: same}, "resnet18": large, "weights_mb": 45.0, "commands": commands})
    assert told["service_over_best_peer_seconds"] == 2 and told["service_over_best_peer_mb"] == 1.25
    assert told["help_seconds_over_python"] == pytest.approx(0.3)
