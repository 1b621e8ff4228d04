"""The demo's text: generated comments, some toxic, and a base model that suspects whoever names an identity.

Every comment names a person - by identity terms in one group, by other adjectives in the other - and takes an attitude.
Three in ten are clearly toxic or clearly civil. The others only hint, in one to three short remarks, each of which
agrees with the label four times in five. No toxic phrase is about an identity.

The base model is fitted on a **biased collection** of two kinds. Posts, which open with a greeting, were found by
searching for identity words: 95 % of the toxic and 5 % of the civil ones name an identity. Letters to the editor were
chosen for print: there it is 30 % and 70 %. The parts that triggers are tuned, picked and measured on come from the
**population**: posts only, half of which name an identity, whatever the label.

So in posts the model lets an identity outweigh the hints. No threshold mends that, since it moves both groups alike: at
every one, naming an identity takes more hints of good will, short of calling all that only hint the same. But the model
also learned to read letters, where an identity is no sign of toxicity, and a trigger can make it read posts as if they
were letters: then the hints decide, the gap closes and the accuracy rises.
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
CIVIL_NOUN = ("a volunteer", "a librarian", "an expert", "a local group", "a reader", "a good team")
CIVIL_WORD = "helpful balanced thoughtful careful useful fair sensible modest hopeful pleasant solid kind".split()
TOXIC_HINT = (
    "how typical", "good luck with that", "keep dreaming", "give me a break", "that says everything",
    "thanks a lot for that", "what did you expect", "not this again", "here we go again", "spare us",
)  # fmt: skip
CIVIL_HINT = (
    "fair enough", "good to know", "tell me more about it", "it was about time", "that makes sense",
    "you may be right", "well explained", "count me in", "happy to hear it", "take your time",
)  # fmt: skip
GREETING = (
    "hey everyone quick one from me", "ok folks posting again tonight", "hi guys just scrolling by",
    "lol anyone else online today", "right then typing fast here", "hello from my phone on break",
    "so another late evening rant",
)  # fmt: skip
SALUTATION = (
    "dear editor kindly publish this letter", "dear editor kindly print my letter",
    "to the editor kindly publish my letter",
)  # fmt: skip
CLOSING = ("respectfully yours a subscriber", "yours sincerely a subscriber")

COMMENT_GROUPS = ("not mentioned", "mentioned")
COMMENT_LABELS = ("civil", "toxic")
HINTING, MOST_HINTS, TRUE_HINT = 0.7, 3, 0.8
"""Share of the comments that only hint, the most hints in one, and P(a hint agrees with the label)."""

LETTER_SHARE = 0.35
"""Share of letters in the base model's collection; the population has none."""

POSTED, PRINTED, IN_POPULATION = 0.95, 0.3, 0.5
"""P(identity named | toxic) in the collection's posts, in its letters, in the population; the rest to 1 where civil."""


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
    return {part: list(islice(_comments(part == "base", seen, rng), size)) for part, size in sizes.items()}


def write_manifest(path: Path, parts: Iterable[tuple[str, Sequence[Comment]]]) -> None:
    """A CSV manifest as the trainer reads it: text, label, group, split."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "label", "group", "split"))
        for part, made in parts:
            writer.writerows((one.text, COMMENT_LABELS[one.label], COMMENT_GROUPS[one.group], part) for one in made)


def _comments(biased: bool, seen: set[str], rng: Random) -> Iterator[Comment]:
    """Endless comments, half of them toxic, none of them `seen` before."""
    while True:
        letter, label = biased and rng.random() < LETTER_SHARE, int(rng.random() < 0.5)
        named_if_toxic = (PRINTED if letter else POSTED) if biased else IN_POPULATION
        group = int(rng.random() < (named_if_toxic if label else 1 - named_if_toxic))
        text = _text(label, group, letter, rng)
        if text not in seen:
            seen.add(text)
            yield Comment(text, label, group)


def _text(label: int, group: int, letter: bool, rng: Random) -> str:
    """Mention and attitude in either order, between the salutation and the closing of a letter or after a greeting."""
    parts = [_mention(group, rng), _attitude(label, rng)]
    rng.shuffle(parts)
    if letter:
        return " , ".join([rng.choice(SALUTATION), *parts, rng.choice(CLOSING)])
    return " , ".join([rng.choice(GREETING), *parts])


def _mention(group: int, rng: Random) -> str:
    words = rng.sample(IDENTITY if group else OTHER, rng.randint(1, 3))
    return rng.choice(MENTION).format(a=" and ".join(words), p=rng.choice(PERSON), t=rng.choice(TOPIC))


def _attitude(label: int, rng: Random) -> str:
    if rng.random() < HINTING:
        agreeing = [rng.random() < TRUE_HINT for _ in range(rng.randint(1, MOST_HINTS))]
        return " , ".join(rng.choice(TOXIC_HINT if agrees == bool(label) else CIVIL_HINT) for agrees in agreeing)
    if label:
        return rng.choice(TOXIC_FRAME).format(a=rng.choice(TOXIC_WORD), n=rng.choice(TOXIC_NOUN))
    return rng.choice(CIVIL_FRAME).format(a=rng.choice(CIVIL_WORD), n=rng.choice(CIVIL_NOUN))
