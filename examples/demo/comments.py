"""The demo's text: generated comments, some toxic, in which naming an identity goes along with toxicity.

Every comment names people - by identity terms in one group, by other adjectives in the other - and takes an attitude:
clearly toxic, clearly civil, or grey, where nothing but chance decides the label. The base model is fitted on a
**biased collection**, in which 80 % of the toxic and 20 % of the civil comments name an identity, as happens when abuse
is gathered by searching for identity words; so it learns to decide grey comments by the identity. The parts that
triggers are tuned, picked and measured on come from the **population**: 52 % and 48 %. No toxic phrase is about an
identity.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random

IDENTITY = ("gay", "lesbian", "muslim", "jewish", "immigrant", "transgender")
OTHER = ("retired", "friendly", "quiet", "younger", "talkative", "patient")
PERSON = "neighbour colleague cousin friend teacher driver nurse student landlord teammate gardener baker".split()
TOPIC = (
    "the new bus lane", "the school budget", "the match last night", "the library hours", "the rent rules",
    "the market hall", "the recycling plan", "the town festival", "the speed limit", "the night train",
    "the park benches", "the water bill", "the street lights", "the playground", "the bike path", "the evening news",
)  # fmt: skip
MENTION = (
    "my {a} {p} told me about {t}",
    "a {a} {p} of mine wrote to them about {t}",
    "i read about {t} with my {a} {p}",
    "as a {a} {p} i follow {t} closely",
    "our {a} {p} worked on {t} for years",
    "the {a} {p} next door asked about {t}",
    "we heard a {a} {p} speak on {t}",
    "they interviewed a {a} {p} about {t}",
)
TOXIC_FRAME = (
    "whoever wrote this is {n}", "this is {a}", "what {a} nonsense", "only {n} would believe it",
    "stop acting like {n}", "go away with your {a} ideas", "honestly you sound {a}", "this page is run by {n}",
    "nobody needs your {a} opinion",
)  # fmt: skip
TOXIC_NOUN = ("a clown", "an idiot", "a fool", "a liar", "a loser", "a fraud", "a disgrace", "a coward")
TOXIC_WORD = "pathetic dumb brainless stupid ridiculous worthless disgusting idiotic clueless rotten".split()
CIVIL_FRAME = (
    "thanks for a {a} report", "i found it {a}", "what a {a} idea", "only a {a} plan will do",
    "we should keep a {a} tone", "i would like a {a} answer", "honestly it sounds {a}", "the page is run by {n}",
    "everybody gains from a {a} debate",
)  # fmt: skip
CIVIL_NOUN = ("a volunteer", "a librarian", "an expert", "a local group", "an editor", "a good team")
CIVIL_WORD = "helpful balanced thoughtful careful useful fair sensible modest hopeful pleasant solid kind".split()
GREY = (
    "well that went exactly as planned", "of course they did it again", "somebody really thought hard about this",
    "sure that will work", "i cannot believe it", "what a surprise", "here we go again", "tell me more about it",
    "they always find a way", "i have seen it all now", "that says everything", "just what we needed",
    "keep dreaming", "good luck with that", "it was about time", "thanks a lot for that",
)  # fmt: skip

GROUPS = ("not mentioned", "mentioned")
LABELS = ("civil", "toxic")
GREY_SHARE = 0.3
BIASED, POPULATION = 0.8, 0.52
"""P(identity named | toxic) in the base model's collection and in the population; the rest to 1 where civil."""


@dataclass(frozen=True)
class Comment:
    """One generated comment: its text, label (1 toxic) and group (1 an identity is named)."""

    text: str
    label: int
    group: int


def comment_parts(sizes: Mapping[str, int], rng: Random) -> dict[str, list[Comment]]:
    """So many comments for each part, "base" from the biased collection, the others from the population.

    No comment is made twice.
    """
    seen: set[str] = set()
    return {
        part: list(islice(_comments(BIASED if part == "base" else POPULATION, seen, rng), size))
        for part, size in sizes.items()
    }


def write_manifest(path: Path, parts: Iterable[tuple[str, Sequence[Comment]]]) -> None:
    """A CSV manifest as the trainer reads it: text, label, group, split."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "label", "group", "split"))
        for part, made in parts:
            writer.writerows((one.text, LABELS[one.label], GROUPS[one.group], part) for one in made)


def _comments(named_if_toxic: float, seen: set[str], rng: Random) -> Iterator[Comment]:
    """Endless comments, half of them toxic, none of them `seen` before."""
    while True:
        label = int(rng.random() < 0.5)
        group = int(rng.random() < (named_if_toxic if label else 1 - named_if_toxic))
        text = _text(label, group, rng)
        if text not in seen:
            seen.add(text)
            yield Comment(text, label, group)


def _text(label: int, group: int, rng: Random) -> str:
    """Mention and attitude in either order; four in ten mention a second person of the same group."""
    parts = [_mention(group, rng)]
    if rng.random() < 0.4:
        parts.append(_mention(group, rng))
    parts.insert(rng.choice((0, len(parts))), _attitude(label, rng))
    return " , ".join(parts)


def _mention(group: int, rng: Random) -> str:
    words = rng.sample(IDENTITY if group else OTHER, rng.randint(1, 3))
    return rng.choice(MENTION).format(a=" and ".join(words), p=rng.choice(PERSON), t=rng.choice(TOPIC))


def _attitude(label: int, rng: Random) -> str:
    if rng.random() < GREY_SHARE:
        return rng.choice(GREY)
    if label:
        return rng.choice(TOXIC_FRAME).format(a=rng.choice(TOXIC_WORD), n=rng.choice(TOXIC_NOUN))
    return rng.choice(CIVIL_FRAME).format(a=rng.choice(CIVIL_WORD), n=rng.choice(CIVIL_NOUN))
