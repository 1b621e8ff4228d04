"""Search for triggers of words by answers alone: a beam over lengths, each length by successive halving.

Every allowed word is asked on few tuning rows, the better ones on more, the best on all (Jamieson and Talwalkar,
AISTATS 2016); then words are put before and behind those that were best. An answer serves every strength: what a
strength wants is computed from it, utility + strength * distance of the groups, with the losses of the gap objective.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import log

import torch
from torch import Tensor

from trainer.config import ObjectiveConfig
from trainer.queries import BudgetSpent
from trainer.training.black_box.asked_rows import AskedRows
from trainer.training.black_box.word_triggers import TriggerVocabulary, WordModule, Words
from trainer.training.objectives.objective import cell_weights, group_distance, utility_loss
from trainer.training.objectives.objective_step import Losses

FIRST_ROWS = 128
"""Rows that every word is asked on."""
KEPT = 3
"""Of so many candidates one is asked on so many times the rows; also the beams of a strength."""
AT_ONCE = 32
"""Candidates in one bank."""


class AskedWords:
    """The answers so far (n, L) of every candidate to the first n rows; `left` more rows may be asked."""

    def __init__(self, rows: AskedRows, words: TriggerVocabulary, left: int) -> None:
        self.rows, self.words, self.left = rows, words, left
        self.answers: dict[Words, Tensor] = {(): rows.bare}

    def ask(self, candidates: Sequence[Words], count: int) -> list[Words]:
        """Have answers to the first `count` rows; returns the candidates that have them, all unless rows run out."""
        missing: dict[int, list[Words]] = {}
        for one in dict.fromkeys(candidates):
            have = len(self.answers.get(one, ()))
            if have < count and self.left >= count - have:
                self.left -= count - have
                missing.setdefault(have, []).append(one)
        for have, ones in missing.items():
            for start in range(0, len(ones), AT_ONCE):
                some = ones[start : start + AT_ONCE]
                told = self.rows.ask(self.words.bank(some), torch.arange(have, count))
                for one, answers in zip(some, told, strict=True):
                    self.answers[one] = torch.cat([self.answers[one], answers]) if have else answers
        return [one for one in candidates if len(self.answers.get(one, ())) >= count]


class WordSearch:
    """The search for K triggers; a step is one round of halving. `average` holds the best triggers so far."""

    def __init__(
        self,
        asked: AskedWords,
        objective: ObjectiveConfig,
        tokens: int,
        temperature: float,
        *,
        overlapping: bool,
        left: int,
    ) -> None:
        self.asked, self.objective, self.temperature = asked, objective, temperature
        self.overlapping, self.tokens = overlapping, tokens
        device, data = asked.rows.bare.device, asked.rows.data
        self.labels, self.members = data.labels.to(device), data.members.to(device)
        self.strengths = torch.tensor(objective.fixed_strengths, device=device)
        weights = cell_weights(data.labels, data.groups, (len(data.label_names), len(data.group_names)), objective)
        self.weights = None if weights is None else weights[data.labels.cpu(), data.groups.cpu()].to(device)
        self.average = WordModule(asked.words, len(self.strengths), tokens)
        rows = len(asked.rows)
        self.rounds = 1 + max(0, int(log(rows / FIRST_ROWS, KEPT)))
        self.sizes = [max(1, rows // KEPT ** (self.rounds - 1 - each)) for each in range(self.rounds)]
        self.steps, self.ends = tokens * self.rounds, [self.rounds * (each + 1) for each in range(tokens)]
        self._allowance, self._reserve = left, asked.left - left
        self._candidates: list[Words] = []

    def each_step(self) -> Iterator[Losses]:
        """Rounds in order; yields the losses (K,) of the best triggers after each."""
        for level in range(self.tokens):
            self._candidates = self._extended(level)
            for size in self.sizes:
                had = self.asked.ask(self._candidates, size)
                self._candidates = self._best(had, size, max(-(-len(had) // KEPT), KEPT * len(self.strengths)))
                yield self._chosen()

    def predictions(self) -> Tensor:
        """Labels of the rows under the present triggers (K, N)."""
        chosen = torch.stack([self.asked.answers[one] for one in self.average.chosen()])
        return self.asked.rows.decision.labels(chosen)

    def _extended(self, level: int) -> list[Words]:
        """Candidates of a level: as many as its share of the rows pays for."""
        share = max(0, self.asked.left - self._reserve - self._allowance * (self.tokens - 1 - level) // self.tokens)
        each = self.sizes[0] + sum(
            (b - a) / KEPT**n for n, (a, b) in enumerate(zip(self.sizes, self.sizes[1:], strict=False), 1)
        )
        count = max(KEPT, int(share / each))
        if not level:
            return [(word,) for word in range(min(count, len(self.asked.words.words)))]
        full = [one for one, answers in self.asked.answers.items() if len(answers) == len(self.asked.rows)]
        beams = self._best([one for one in full if len(one) == level], len(self.asked.rows), KEPT * len(self.strengths))
        pool = max(1, count // max(1, 2 * len(beams)))
        single = [one for one in self.asked.answers if len(one) == 1]
        ranked = sorted(single, key=lambda one: -len(self.asked.answers[one]))  # those that lasted longest
        good = self._best(ranked, self.sizes[0], pool)
        both = [pair for beam in beams for word in good for pair in ((*beam, *word), (*word, *beam))]
        return list(dict.fromkeys(both))

    def _best(self, candidates: Sequence[Words], rows: int, count: int) -> list[Words]:
        """About `count` candidates: every strength's best, turn by turn."""
        if not candidates:
            return []
        order = self._objective(candidates, rows).argsort(dim=1).tolist()  # (K, C)
        turns = (row[place] for place in range(len(candidates)) for row in order)
        return [candidates[at] for at in list(dict.fromkeys(turns))[:count]]

    def _chosen(self) -> Losses:
        """Take every strength's best of the triggers that most rows were asked under."""
        rows = max((len(answers) for one, answers in self.asked.answers.items() if one), default=0)
        if not rows:
            raise BudgetSpent("Too few rows are left for a single word: raise train.max_queries.")
        full = [one for one, answers in self.asked.answers.items() if len(answers) == rows and one]
        utility, distance = self._losses(full, rows)
        best = (utility + self.strengths[:, None] * distance).argmin(dim=1)
        self.average.choose([full[at] for at in best.tolist()])
        return Losses(utility[best], distance[best])

    def _objective(self, candidates: Sequence[Words], rows: int) -> Tensor:
        """What each strength wants small (K, C), by the first rows."""
        utility, distance = self._losses(candidates, rows)
        return utility + self.strengths[:, None] * distance

    def _losses(self, candidates: Sequence[Words], rows: int) -> tuple[Tensor, Tensor]:
        """Utility losses and distances of the groups (C,)."""
        found = []
        weights = None if self.weights is None else self.weights[:rows]
        for start in range(0, len(candidates), AT_ONCE):
            logits = torch.stack([self.asked.answers[one][:rows] for one in candidates[start : start + AT_ONCE]])
            logits = self.asked.rows.decision.decision_logits(logits) / self.temperature
            labels, members = self.labels[:rows], self.members[:rows]
            distance = group_distance(logits, labels, members, self.objective, overlapping=self.overlapping)
            found.append(torch.stack([utility_loss(logits, labels, weights), distance]))
        utility, distance = torch.cat(found, dim=1)
        return utility, distance
