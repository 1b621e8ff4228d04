"""The circuit breaker of an endpoint: when it opens, what closes it, and what each rule lets through."""

from __future__ import annotations

import pytest

from service.engine.endpoint_health import FAILURES, EndpointHealth, EndpointState
from triggers.errors import EndpointFailed, EndpointUnavailable


def well() -> EndpointHealth:
    health = EndpointHealth("faces", "refuse", 60)
    health.answered()
    return health


def test_nothing_is_asked_before_the_canary_was() -> None:
    health = EndpointHealth("faces", "refuse", 60)
    with pytest.raises(EndpointUnavailable, match="not yet shown"):
        health.check(triggers=False)
    health.answered()
    health.check(triggers=True)


def test_it_opens_after_failures_in_a_row_and_only_the_canary_closes_it() -> None:
    health = well()
    for _ in range(FAILURES - 1):
        health.failed(EndpointUnavailable("slow"))
    health.succeeded()
    for _ in range(FAILURES - 1):
        health.failed(EndpointFailed("nonsense"))
    health.check(triggers=True)
    assert not health.wake.is_set()
    health.failed(EndpointUnavailable("slow"))
    assert health.state.status == "away" and health.wake.is_set()
    health.succeeded()  # a request that was under way
    with pytest.raises(EndpointUnavailable):
        health.check(triggers=True)
    health.answered()
    health.check(triggers=True)


def test_one_failure_without_a_connection_opens_it() -> None:
    health = well()
    health.failed(EndpointUnavailable("refused", gone=True))
    assert (health.state.status, health.state.reason) == ("away", "refused")


def test_rows_that_are_refused_do_not_open_it() -> None:
    health = well()
    for _ in range(2 * FAILURES):
        health.failed(EndpointFailed("answers 422", 422))
    health.check(triggers=True)
    for _ in range(FAILURES):
        health.failed(EndpointFailed("answers 500", 500))
    assert health.state.status == "away"


def test_a_stated_pause_is_kept() -> None:
    health = well()
    health.failed(EndpointUnavailable("answers 429", 7, stated=True))
    with pytest.raises(EndpointUnavailable) as refused:
        health.check(triggers=True)
    assert refused.value.retry_after == 7 and health.state.status == "answers"


@pytest.mark.parametrize(
    ("rule", "bare", "triggers"), [("refuse", False, False), ("withdraw", True, False), ("warn", True, True)]
)
def test_what_a_changed_endpoint_serves(rule: str, bare: bool, triggers: bool) -> None:
    state = EndpointState("changed", "it differs", 0.0, rule)  # type: ignore[arg-type]
    assert (state.serves(triggers=False), state.serves(triggers=True)) == (bare, triggers)
    assert EndpointState(**state.to_dict()) == state


def test_every_status_is_told_once() -> None:
    told: list[str] = []
    health = EndpointHealth("faces", "refuse", 60, lambda state: told.append(state.status))
    for _ in range(2):
        health.answered()
        health.failed(EndpointUnavailable("refused", gone=True))
        health.failed(EndpointUnavailable("refused", gone=True))
        health.changed("it differs")
        health.changed("it differs more")
    assert told == ["answers", "away", "changed"] * 2
    assert health.state.reason == "it differs"


def test_a_cut_connection_is_looked_into_but_not_at_every_one() -> None:
    health = EndpointHealth("faces", "refuse", 0.06)
    health.answered()
    health.suspect()
    assert not health.wake.is_set()
    health.answered_at -= 0.02
    health.suspect()
    assert health.wake.is_set()
