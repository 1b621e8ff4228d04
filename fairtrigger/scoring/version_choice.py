"""The versions that rows are scored under, by the words that name them; each is checked as a service checks it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from triggers.artifact.artifact import check_compatible, load_artifact
from triggers.artifact.signature import TRUST_ANYONE, Trust
from triggers.errors import ConfigError, NotFound
from triggers.model import FrozenClassifier, Trigger
from triggers.rollout.rollout_history import version_name
from triggers.store import Store
from triggers.store.artifact_gate import check_servable

BARE = "none"
_VERSION = re.compile(r"v([1-9][0-9]{0,8})")


class ScoringVersion(NamedTuple):
    """A version by its name in files; `number` is that in the store, None of the bare model and of a file."""

    name: str
    number: int | None
    digest: str
    trigger: Trigger


def choose_versions(
    words: Sequence[str],
    classifier: FrozenClassifier,
    store: Store | None = None,
    *,
    trust: Trust = TRUST_ANYONE,
    certified: bool = False,
    actor: str = "score",
) -> list[ScoringVersion]:
    """The versions of the words, each once, the bare model first; without words the champion, without a store the bare.

    A word is `none`, `v3`, `champion`, `challenger` or the path of an artifact. `certified`: champion and challenger
    must be so. A refusal of the store's is in its history. Raises ArtifactError, NotFound or ConfigError.
    """
    found: dict[str, ScoringVersion] = {}
    for word in words or ["champion" if store else BARE]:
        if Path(word).is_file():
            chosen = _from_file(Path(word), classifier, trust)
        else:
            number = _number(word, classifier.name, store)
            needed = certified and word in ("champion", "challenger")
            chosen = _from_store(number, classifier, store, needed, actor)
        known = found.setdefault(chosen.name, chosen)
        if known.digest != chosen.digest:
            raise ConfigError(f"Two triggers are named {chosen.name!r}: rename one of the files.")
    return sorted(found.values(), key=lambda version: version.name != BARE)


def _from_file(path: Path, classifier: FrozenClassifier, trust: Trust) -> ScoringVersion:
    artifact = load_artifact(path)
    trust.check(artifact.digest, artifact.signature)
    check_compatible(artifact, classifier)
    return ScoringVersion(path.stem, None, artifact.digest, artifact.trigger)


def _from_store(
    number: int | None, classifier: FrozenClassifier, store: Store | None, certified: bool, actor: str
) -> ScoringVersion:
    if number is None:
        return ScoringVersion(BARE, None, "", classifier.null_trigger())
    assert store
    check_servable(store, classifier.name, number, actor=actor, classifier=classifier, certified=certified)
    artifact = store.get(classifier.name, number)
    return ScoringVersion(version_name(number), number, artifact.digest, artifact.trigger)


def _number(word: str, model: str, store: Store | None) -> int | None:
    """The version that a word names; None is the bare model."""
    if word == BARE:
        return None
    match = _VERSION.fullmatch(word)
    if not match and word not in ("champion", "challenger"):
        raise ConfigError(
            f"{word!r} is no trigger: say none, v3, champion, challenger, or name an artifact's file that is there."
        )
    if store is None:
        raise NotFound(f"{word} is in a trigger store: name one with --store or FAIRTRIGGER_STORE.")
    if match:
        return int(match[1])
    plan = store.rollout(model).plan
    if word == "champion":
        return plan.champion
    if plan.challenger is None:
        raise NotFound(f"The rollout of {model!r} has no challenger now; name a version.")
    return plan.challenger.version
