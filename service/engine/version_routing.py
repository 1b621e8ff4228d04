"""Routing of inputs to versions, and sampling of twins and shadows, by a plan's shares.

A request's key decides between champion and challenger: the same key gets the same version in every process and on
every machine, a growing share only adds keys, and each challenger draws its keys anew. Twins and shadows are a random
sample of the inputs, regardless of the key.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from typing import Literal, NamedTuple

from triggers.rollout import RolloutPlan
from triggers.rollout.rollout_history import version_name

TriggerSelector = int | None | Literal["rollout", "champion", "challenger"]
"""A version, None for no trigger, an alias, or `rollout`: decided when the batch is formed."""
ServingPolicy = Literal["champion", "challenger", "pinned"]
"""How a version was chosen: by the rollout (champion or challenger), or by the request (pinned)."""
ROUTING_KEY_BYTES = 8


class ExtraPasses(NamedTuple):
    """The extra forward passes of an input: a twin without a trigger, and shadow versions."""

    twin: bool = False
    shadows: tuple[int, ...] = ()


NO_EXTRA_PASSES = ExtraPasses()


def routing_key(text: str) -> int:
    """A request's key as 64 bits, by BLAKE2b."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=ROUTING_KEY_BYTES).digest(), "big")


def challenger_position(key: int, model: str, version: int | None) -> float:
    """A key's position in a challenger's trial, in [0, 1): BLAKE2b of the key, keyed by model and version."""
    secret = hashlib.blake2b(f"{model} {version_name(version)}".encode(), digest_size=16).digest()
    hashed = hashlib.blake2b(key.to_bytes(ROUTING_KEY_BYTES, "big"), digest_size=ROUTING_KEY_BYTES, key=secret).digest()
    return (int.from_bytes(hashed, "big") >> 11) / 2.0**53  # as many bits as a float holds, so never 1.0


def route_version(plan: RolloutPlan, model: str, choice: TriggerSelector, key: int) -> tuple[int | None, ServingPolicy]:
    """The version that answers, and why. Without a challenger, its alias means the champion."""
    if choice == "rollout":
        trial = plan.challenger
        if trial and challenger_position(key, model, trial.version) < trial.share:
            return trial.version, "challenger"
        return plan.champion, "champion"
    if choice == "champion" or (choice == "challenger" and plan.challenger is None):
        return plan.champion, "pinned"
    if choice == "challenger":
        assert plan.challenger
        return plan.challenger.version, "pinned"
    return choice, "pinned"


def sample_extra_passes(plan: RolloutPlan, draw: Callable[[], float] = random.random) -> ExtraPasses:
    """Sample the extra passes of an input that follows the rollout; `draw` is uniform in [0, 1)."""
    if not plan.twin_share and not plan.shadow.versions:
        return NO_EXTRA_PASSES
    shadow = plan.shadow
    shadows = shadow.versions if shadow.versions and draw() < shadow.share else ()
    bare_only = plan.champion is None and plan.challenger is None  # a twin would be the same again
    return ExtraPasses(twin=plan.twin_share > 0 and not bare_only and draw() < plan.twin_share, shadows=shadows)
