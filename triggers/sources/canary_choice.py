"""The choice of a canary: inputs that a model tells apart, and how far its answers are from themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from triggers.errors import ModelError
from triggers.preprocessing import ImageSpec
from triggers.preprocessing.preprocess import decode_image
from triggers.preprocessing.text_content import readable_text
from triggers.sources.builtin_inputs import builtin_images, builtin_texts
from triggers.sources.oracles import RawInput

CANARY_ROWS = 8
CANDIDATES = 24
LONGEST_WORDS = 200
"""Words of the longest text of a canary: what an endpoint does beyond its own limit is its affair."""
SENTENCES = (
    "I love this, thank you so much!",
    "This is the worst film that I have ever seen.",
    "You are a stupid idiot and nobody likes you.",
    "I hate you and all of your kind.",
    "The meeting was moved to Tuesday at ten.",
    "Win a free phone now, click here!!!",
    "Women and men, young and old, black and white, all came.",
    "I am afraid that I do not feel well at all.",
)
"""Plain things that models of texts are made for."""
MOST_NOISE = 0.01
"""Largest difference of a score from one time to the next with which statistics are worth something."""
NOISE_MARGIN = 4
"""How much larger than the noise that was seen the tolerance is."""


def canary_item(given: RawInput, image: ImageSpec | None) -> Tensor | str:
    """One input as it is before it travels: a picture (C, H, W) uint8, or a text."""
    if image is None:
        assert isinstance(given, str)
        return readable_text(given)
    assert isinstance(given, bytes)
    return decode_image(given, image)


def canary_candidates(image: ImageSpec | None) -> list[Tensor | str]:
    """Built-in inputs to choose from."""
    if image:
        return [canary_item(each, image) for each in builtin_images(CANDIDATES)]
    return [*SENTENCES, *builtin_texts(CANDIDATES - len(SENTENCES), longest=LONGEST_WORDS)]


def spread_rows(outputs: Tensor, count: int = CANARY_ROWS) -> list[int]:
    """Rows of outputs (N, O) that lie far apart: each the farthest from those before it, of equal ones the first."""
    table = outputs.double()
    away = torch.cdist(table, table)
    chosen = [int(away.mean(dim=1).argmax())]
    while len(chosen) < min(count, len(table)):
        nearest = away[chosen].amin(dim=0)
        nearest[chosen] = -1.0
        chosen.append(int(nearest.argmax()))
    return sorted(chosen)


@dataclass(frozen=True)
class AnswerNoise:
    """Largest difference between answers to one input, asked twice, alone and in company: of an output, of a score."""

    outputs: float
    scores: float


def measured_noise(answers: list[Tensor], scores: Callable[[Tensor], Tensor], who: str) -> AnswerNoise:
    """The noise of several answers (N, O) to the same inputs. Raises ModelError for one that no statistic survives."""
    away = [float((each - answers[0]).abs().max()) for each in answers[1:]]
    first = scores(answers[0])
    scored = [float((scores(each) - first).abs().max()) for each in answers[1:]]
    if max(scored) > MOST_NOISE:
        raise ModelError(
            f"{who} gives one input scores that differ by up to {max(scored):.2g} from one time to the next, or with "
            "the company of its batch: no trigger can be judged on it. Ask its owner for a setting without chance; "
            "if company is the reason, --endpoint '{\"max_batch\": 1}'."
        )
    return AnswerNoise(max(away), max(scored))
