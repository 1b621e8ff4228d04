"""Rollouts: what is decided and what every replica serves, changed safely and waited for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

from fairtrigger.client.errors import ReplicasBehind, ServiceError
from fairtrigger.client.service_calls import Operation, Pause, RetryRules, ServiceCall, exchange, model_path

LOOK_AGAIN_SECONDS = 0.1
_OFF, _NO_TRIGGER = "off", "none"


@dataclass(frozen=True)
class ReplicaState:
    """A running service, the revision and champion that it serves, and why it refused `refused_revision`, if it did."""

    name: str
    revision: int
    champion: str
    refused_revision: int | None
    refusal: str | None


@dataclass(frozen=True)
class RolloutState:
    """What is decided for a model, versions being `v3` or `none`, and what its replicas serve.

    `replicas` is None while that is not known. `fault` says why something else answers; `document` is all that the
    service said.
    """

    model: str
    revision: int
    champion: str
    challenger: str | None
    challenger_share: float
    twin_share: float
    reason: str
    replicas: tuple[ReplicaState, ...] | None
    fault: str | None
    document: Mapping[str, Any]

    def behind(self, revision: int) -> dict[str, str]:
        """The replicas that do not serve a revision or a later one, each with the reason of its refusal, or empty."""
        return {
            one.name: (one.refusal or "") if (one.refused_revision or 0) >= revision else ""
            for one in self.replicas or ()
            if one.revision < revision
        }

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> RolloutState:
        """The state that a response says."""
        challenger, replicas = document["challenger"], document.get("replicas")
        return cls(
            model=document["model"],
            revision=document["revision"],
            champion=document["champion"] or _NO_TRIGGER,
            challenger=None if challenger is None else challenger["version"] or _NO_TRIGGER,
            challenger_share=challenger["share"] if challenger else 0.0,
            twin_share=document["twin_share"],
            reason=document["reason"],
            replicas=None if replicas is None else tuple(map(_replica, replicas)),
            fault=document.get("fault"),
            document=document,
        )


def _replica(found: Mapping[str, Any]) -> ReplicaState:
    champion = found["champion"] or _NO_TRIGGER
    return ReplicaState(found["name"], found["revision"], champion, found["refused_revision"], found["refusal"])


def rollout_state(model: str, rules: RetryRules) -> Operation[RolloutState]:
    """The state of a model's rollout."""
    reply = yield from exchange(ServiceCall("GET", _path(model)), rules)
    return RolloutState.of_document(reply.json())


def activate(model: str, version: str | int, reason: str, wait: float, rules: RetryRules) -> Operation[RolloutState]:
    """Make a version the champion; a challenger's trial ends, the rest of the rollout stays."""
    return (yield from _change(model, {"champion": _named(version), "challenger": None}, reason, wait, rules))


def canary(
    model: str, version: str | int, share: float, reason: str, wait: float, rules: RetryRules
) -> Operation[RolloutState]:
    """Let a challenger answer a share of the requests; `off` ends it. The rest of the rollout stays."""
    challenger = None if version == _OFF else {"version": _named(version), "share": share}
    return (yield from _change(model, {"challenger": challenger}, reason, wait, rules))


def roll_back(model: str, reason: str, wait: float, rules: RetryRules) -> Operation[RolloutState]:
    """Return to the rollout before the present one."""
    before = yield from rollout_state(model, rules)
    body = {"reason": reason}
    call = ServiceCall("POST", f"{_path(model)}/rollback", body, headers=_only_at(before.revision))
    return (yield from _decide(call, before, lambda state: False, wait, rules))


def _change(
    model: str, change: Mapping[str, Any], reason: str, wait: float, rules: RetryRules
) -> Operation[RolloutState]:
    before = yield from rollout_state(model, rules)
    kept = {name: before.document[name] for name in ("champion", "challenger", "shadow", "twin_share", "guard")}
    body = kept | dict(change) | {"reason": reason}
    call = ServiceCall("PUT", _path(model), body, headers=_only_at(before.revision))

    def made(state: RolloutState) -> bool:
        return all(state.document[name] == value for name, value in body.items())

    return (yield from _decide(call, before, made, wait, rules))


def _decide(
    call: ServiceCall, before: RolloutState, made: Callable[[RolloutState], bool], wait: float, rules: RetryRules
) -> Operation[RolloutState]:
    """The state after a decision, once all replicas serve it. Repeating it is safe: it holds at one revision only."""
    try:
        reply = yield from exchange(call, rules)
        state = RolloutState.of_document(reply.json())
    except ServiceError as error:
        if error.code != "revision_conflict" or not error.uncertain:
            raise
        state = yield from rollout_state(before.model, rules)  # an answer was lost: the decision may be this one
        if state.revision != before.revision + 1 or not made(state):
            raise
    return (yield from _followed(state, wait, rules)) if wait > 0 else state


def _followed(decided: RolloutState, seconds: float, rules: RetryRules) -> Operation[RolloutState]:
    """The state once every running replica serves the revision, or a later one. Raises ReplicasBehind."""
    deadline = monotonic() + seconds
    while True:
        state = yield from rollout_state(decided.model, rules)
        behind = state.behind(decided.revision)
        if state.replicas and not behind and state.document["applied_revision"] >= decided.revision:
            return state
        if (behind and all(behind.values())) or monotonic() >= deadline:
            raise ReplicasBehind(decided.revision, behind)
        yield Pause(LOOK_AGAIN_SECONDS)


def _path(model: str) -> str:
    return model_path(model, "/rollout")


def _only_at(revision: int) -> dict[str, str]:
    return {"If-Match": f'"{revision}"'}


def _named(version: str | int) -> str | None:
    """`v3` of v3, "3" or 3; None of `none`."""
    return None if version == _NO_TRIGGER else f"v{str(version).removeprefix('v')}"
