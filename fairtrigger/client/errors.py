"""Errors of the client: problem documents as exceptions, and answers that never came.

ServiceError            the service refused or failed; `code` is stable, `reason` says why, `remedy` what to do
├── AnswerLost          a request was sent and its answer lost: what it asked may have been done
├── ServiceUnreachable  there was no connection
└── ReplicasBehind      a rollout was decided, and some replicas do not serve it
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fairtrigger.client.results import PredictionResult
from triggers.errors import FairtriggerError

_TOKEN = "Give token=, or set FAIRTRIGGER_TOKEN."
_REMEDIES = {
    "token_missing": _TOKEN,
    "token_wrong": _TOKEN,
    "role_missing": _TOKEN,
    "revision_conflict": "Somebody else changed it meanwhile: read rollout() again, and decide anew.",
    "too_many_requests": "Send fewer at a time, or raise retries.",
    "overloaded": "Send fewer at a time, or raise retries.",
    "deadline_exceeded": "Raise timeout, or send fewer inputs at a time.",
    "answer_lost": "Send it again if counting it twice is no harm.",
    "unreachable": "Check the address, and that the service runs.",
    "replicas_behind": "Look at rollout(); a replica that is gone is forgotten within a minute.",
}
"""What a caller of this client can do, where the service's own words do not say it."""


class ServiceError(FairtriggerError):
    """The service refused a request or failed on it, `status` being that of HTTP (0: none came).

    `answered` are the predictions of the same call that came before it, each of them counted; `problem` is the whole
    document of the service. `uncertain`: the answer of an earlier attempt was lost, which may have done it.
    """

    def __init__(self, code: str, reason: str, *, status: int = 0, problem: Mapping[str, Any] | None = None) -> None:
        self.code, self.reason, self.status, self.problem = code, reason, status, dict(problem or {})
        self.remedy = _REMEDIES.get(code, "")
        self.answered: Sequence[PredictionResult] = ()
        self.uncertain = False
        super().__init__(f"{reason} {self.remedy}".strip())


class AnswerLost(ServiceError):
    """A request was sent and its answer lost: it may have been counted, so it was not sent again."""


class ServiceUnreachable(ServiceError):
    """There was no connection to the service, so nothing was done."""


class ReplicasBehind(ServiceError):
    """A rollout was decided, and `behind` are the replicas that do not serve it, each with its reason if it has one."""

    def __init__(self, revision: int, behind: Mapping[str, str]) -> None:
        self.behind = dict(behind)
        named = ", ".join(f"{name} ({why})" if why else name for name, why in behind.items()) or "not known yet"
        super().__init__("replicas_behind", f"Revision {revision} is decided, but not served everywhere: {named}.")
