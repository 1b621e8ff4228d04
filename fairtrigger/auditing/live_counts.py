"""Counts of an audit from a running service: what `GET /v1/models/{model}/fairness` counted in a window."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from fairtrigger.auditing.audited_counts import (
    WITHOUT_TRIGGER,
    AuditInput,
    AuditTerms,
    Group,
    VersionCells,
    split_groups,
    version_order,
)
from triggers.errors import ConfigError, DataError, NotFound, StoreUnavailable

_BARE = "bare"
"""The service's name of the model without a trigger."""
ANSWER_SECONDS = 30.0


def read_live_counts(
    url: str, model: str | None, window: str, token: str | None, confidence: float | None = None
) -> AuditInput:
    """The counts of a service's model by group and version: exact with the admin token, else as they are disclosed.

    Raises ConfigError for an address that is none, NotFound for a model or window that there is not, StoreUnavailable
    for a service that does not answer, DataError where nothing was counted.
    """
    service = _Service(url, token)
    name = model or _only_model(service)
    place = f"/v1/models/{quote(name, safe='')}"
    card = service.get(place)
    said = service.get(f"{place}/fairness?{urlencode({'window': window, 'by': 'version'})}")
    if said["disclosure"] and token:
        raise ConfigError(f"The token is no administrator's: {service.shown} gives late counts with noise. Mend it.")
    digests = {each["version"]: each["digest"] for each in service.get(f"{place}/triggers")["triggers"]}
    listed = [cell["group"] for version in said["versions"].values() for cell in version["counts"]]
    if not listed and said["disclosure"]:
        raise DataError(f"The service discloses no prediction of {name!r} yet: wait, or give the admin token.")
    if not listed:
        raise DataError(f"The service counted no prediction of {name!r} in the window {window}: choose a longer one.")
    overlapping = any(version.get("groups_overlap") for version in said["versions"].values())
    attributes, groups = split_groups(listed, overlapping=overlapping)
    labels = tuple(said["labels"])
    terms = AuditTerms(labels, said["pos_label"], attributes, confidence or said["confidence"], overlapping)
    versions = {
        WITHOUT_TRIGGER if version == _BARE else version: VersionCells(
            _cells(found["counts"], groups), digests.get(version), card["threshold"]
        )
        for version, found in said["versions"].items()
    }
    versions = dict(sorted(versions.items(), key=lambda item: version_order(item[0])))
    kept = ("window", "as_of", "stale", "disclosure", "possible_loss", "warnings")
    source = {
        "kind": "live",
        "url": service.shown,
        "rows": sum(sum(each.cells.values()) for each in versions.values()),
        "shadows_left_out": sorted(said["shadows"]),
        **{key: said[key] for key in kept},
    }
    return AuditInput(terms, versions, source, {"name": name, "digest": card["fingerprint"]})


def _cells(counts: list[Mapping[str, Any]], groups: Mapping[str, Group]) -> Mapping[tuple[Group, int | None, int], int]:
    found = Counter[tuple[Group, int | None, int]]()
    for cell in counts:
        found[groups[cell["group"]], cell["label"], cell["prediction"]] += cell["n"]
    return found


def _only_model(service: _Service) -> str:
    names: list[str] = [each["name"] for each in service.get("/v1/models")["models"]]
    if len(names) != 1:
        raise NotFound(f"{service.shown} serves {', '.join(names) or 'no model'}: say which, with --model.")
    return names[0]


class _Service:
    """A service's address and the token it is asked with; redirects are errors, so that nobody else gets the token."""

    def __init__(self, url: str, token: str | None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"{url!r} is no service's address: give http://HOST:PORT.")
        if parts.username or parts.password:
            raise ConfigError("Put no password into the address: give --token-file, or FAIRTRIGGER_ADMIN_TOKEN.")
        self.shown = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._opener = build_opener(_NoRedirects)

    def get(self, path: str) -> Any:
        """A JSON document. Raises NotFound, ConfigError, StoreUnavailable."""
        try:
            with self._opener.open(Request(self.shown + path, headers=self._headers), timeout=ANSWER_SECONDS) as got:
                return json.load(got)
        except HTTPError as error:
            detail = _detail(error)
            kind = NotFound if error.code == 404 else ConfigError if error.code < 500 else StoreUnavailable
            raise kind(f"{self.shown}{path} answered with HTTP {error.code}: {detail}") from error
        except (URLError, OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise StoreUnavailable(f"{self.shown} does not answer as a service: {reason}. Is it running?") from error


class _NoRedirects(HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """A redirect is an error like any other answer that is not 2xx."""


def _detail(error: HTTPError) -> str:
    try:
        return str(json.load(error)["detail"])
    except (ValueError, KeyError, TypeError):
        return str(error.reason)
    finally:
        error.close()
