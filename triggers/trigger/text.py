"""Text triggers in canonical form, and how they are inserted into a batch of token embeddings.

    after_cls      [CLS] t1 .. tT w1 .. wn [SEP]      before the first word; equals the same words typed there
    before_sep     [CLS] w1 .. wn t1 .. tT [SEP]      behind the last word; the paper's "appended after the text"
    as_published   t1 .. tT [CLS] w1 .. wn [SEP]      what the paper's code does: the trigger sits first, its position
                   ids say "end of the text", and BERT's pooler therefore reads the first trigger word, not [CLS]

The names are BERT's. The tokenizer's own template says which special tokens stand before the first word and behind the
last: GPT-2 has none, Llama one before, XLNet two behind. `as_published` needs one on either side.

Rows with different triggers, lengths and positions share one batch: every source token gets a target slot, the slots
are sorted, and padding, on the right or on the left, is masked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from triggers.errors import ArtifactCorrupt
from triggers.preprocessing import TextBatch, TextTemplate
from triggers.preprocessing.text_template import TokenTypes

TextKind = Literal["none", "hard", "soft", "embedding"]
Position = Literal["after_cls", "before_sep", "as_published"]


@dataclass(frozen=True, eq=False)
class TextTrigger:
    """One trigger: embeddings (T, D) inserted at `position`. A hard trigger also names its token ids and words."""

    kind: TextKind
    position: Position
    embeddings: Tensor
    token_ids: tuple[int, ...] | None = None
    words: tuple[str, ...] | None = None

    @classmethod
    def none(cls, dim: int) -> TextTrigger:
        """The trigger that inserts nothing."""
        return cls("none", "after_cls", torch.zeros(0, dim))

    def validate(self) -> None:
        """Raise ArtifactCorrupt unless the parts fit together and are finite."""
        if self.kind not in get_args(TextKind) or self.position not in get_args(Position):
            raise ArtifactCorrupt(f"Unknown text trigger kind or position: {self.kind!r}, {self.position!r}.")
        if self.embeddings.ndim != 2 or self.embeddings.dtype != torch.float32:
            shape = tuple(self.embeddings.shape)
            raise ArtifactCorrupt(f"A text trigger needs a float32 (T, D) matrix, not {self.embeddings.dtype} {shape}.")
        if not bool(torch.isfinite(self.embeddings).all()):
            raise ArtifactCorrupt("embeddings holds NaN or infinite values.")
        tokens = len(self.embeddings)
        if (self.kind == "none") != (tokens == 0):
            raise ArtifactCorrupt(f"A {self.kind} trigger with {tokens} tokens makes no sense.")
        if self.kind == "hard" and self.token_ids is None and (self.embeddings.shape[1] or self.words is None):
            raise ArtifactCorrupt("A hard trigger must name its token ids; one without embeddings, its words.")
        for name, part in (("token_ids", self.token_ids), ("words", self.words)):
            if part is not None and len(part) != tokens:
                raise ArtifactCorrupt(f"{name} has {len(part)} entries for {tokens} embeddings.")


@dataclass(frozen=True, eq=False)
class EmbeddedText:
    """Input of a text model: embeds (N, M, D), mask (N, M); position_ids (N, M) where order does not tell.

    `token_types` (N, M) where the network does not do without.
    """

    embeds: Tensor
    mask: Tensor
    position_ids: Tensor | None
    token_types: Tensor | None = None

    def take(self, rows: Tensor, width: int) -> EmbeddedText:
        """The chosen rows, cut to their first `width` slots."""
        parts = (self.embeds, self.mask, self.position_ids, self.token_types)
        embeds, mask, positions, types = (part if part is None else part[rows, :width] for part in parts)
        assert embeds is not None and mask is not None
        return EmbeddedText(embeds, mask, positions, types)


@dataclass(frozen=True, eq=False)
class TextBank:
    """V triggers of one model, to be chosen row by row: embeddings (V, T, D) padded, lengths and positions (V)."""

    embeddings: Tensor
    lengths: tuple[int, ...]
    positions: tuple[Position, ...]

    @classmethod
    def of(cls, triggers: Sequence[TextTrigger]) -> TextBank:
        """Stack triggers of one embedding width, padding to the longest."""
        lengths = tuple(len(trigger.embeddings) for trigger in triggers)
        dim = triggers[0].embeddings.shape[1]
        embeddings = torch.zeros(len(triggers), max(lengths), dim)
        for v, trigger in enumerate(triggers):
            embeddings[v, : lengths[v]] = trigger.embeddings
        return cls(embeddings, lengths, tuple(trigger.position for trigger in triggers))

    def __len__(self) -> int:
        return len(self.lengths)

    def to(self, device: torch.device | str) -> TextBank:
        """The same bank on another device."""
        return TextBank(self.embeddings.to(device), self.lengths, self.positions)

    def apply(
        self,
        batch: TextBatch,
        embed: Callable[[Tensor], Tensor],
        index: Tensor,
        template: TextTemplate,
        *,
        left: bool = False,
        width: int | None = None,
    ) -> EmbeddedText:
        """Insert trigger index[n] (N,) into text n. `embed` maps token ids to word embeddings (..., D).

        `left` pads on the left, and numbers the positions. `width` is the number of slots M per row, at most L + T;
        None: as many as the longest row needs, for which a GPU has to be waited for.
        """
        extra = _by_row(self.lengths, index)
        place = _by_row([get_args(Position).index(p) for p in self.positions], index)
        frame = len(template.prefix), len(template.suffix)
        layout = _Layout(batch.lengths.unsqueeze(1), extra, place, *frame, batch.ids.shape[1], self.embeddings.shape[1])
        total = layout.lengths + extra
        width = int(total.max()) if width is None else width
        order = layout.order(width)
        slot = torch.arange(width, device=index.device)[None]
        if left:
            slot = slot - (width - total)  # counts from a row's first token; negative in its padding
            order = order.gather(1, slot % width)
        source = torch.cat([embed(batch.ids), self.embeddings[index].to(batch.ids.device)], dim=1)
        embeds = source.gather(1, order.unsqueeze(2).expand(-1, -1, source.shape[2]))
        mask = ((slot >= 0) & (slot < total)).long()
        types = _token_types(template.types, slot, total) if template.types else None
        if left:
            return EmbeddedText(embeds, mask, slot.clamp(min=0), types)
        kinds = set(self.positions)
        published = "as_published" in kinds and (len(kinds) == 1 or bool((place == 2).any()))
        return EmbeddedText(embeds, mask, layout.position_ids(order) if published else None, types)


def _token_types(types: TokenTypes, slot: Tensor, total: Tensor) -> Tensor:
    """Type of every slot (N, M) of rows with `total` (N, 1) tokens; a trigger has that of the words."""
    found = torch.full_like(slot + total, types.word)
    for number, kind in enumerate(types.prefix):
        found = found.masked_fill(slot == number, kind)
    for number, kind in enumerate(types.suffix):
        found = found.masked_fill(slot == total - len(types.suffix) + number, kind)
    return found


def _by_row(per_trigger: Sequence[int], index: Tensor) -> Tensor:
    """A per-trigger number for each row as (N, 1); without a copy to the device where all triggers have the same."""
    if len(set(per_trigger)) == 1:
        return torch.full((len(index), 1), per_trigger[0], device=index.device)
    return torch.tensor(per_trigger, device=index.device)[index].unsqueeze(1)


@dataclass(frozen=True, eq=False)
class _Layout:
    """Target slots of tokens; lengths, trigger lengths, places are (N, 1), sources L text then T trigger columns.

    `prefix` and `suffix` are the numbers of special tokens around a text.
    """

    lengths: Tensor
    extra: Tensor
    place: Tensor
    prefix: int
    suffix: int
    text_width: int
    trigger_width: int

    def order(self, width: int) -> Tensor:
        """For each of M = `width` target slots its source column (N, M)."""
        text, trigger = self._columns()
        behind = self.text_width + self.trigger_width
        text_slot = torch.where(text < self.lengths, text + self.extra * self._is_after(text), behind + text)
        start = torch.where(self.place == 0, self.prefix, torch.where(self.place == 1, self.lengths - self.suffix, 0))
        trigger_slot = torch.where(trigger < self.extra, start + trigger, 2 * behind + trigger)
        slots = torch.cat([text_slot, trigger_slot], dim=1)
        return slots.argsort(dim=1)[:, :width]

    def position_ids(self, order: Tensor) -> Tensor:
        """Position of every target slot: its own place, except that a published trigger claims the end of its text."""
        natural = torch.arange(order.shape[1], device=order.device).expand_as(order)
        text, trigger = self._columns()
        end = self.lengths - 1
        text_position = torch.where(text >= end, text + self.extra, text).expand(len(order), -1)
        published = torch.cat([text_position, end + trigger], dim=1).gather(1, order)
        return torch.where((self.place == 2) & (natural < self.lengths + self.extra), published, natural)

    def _columns(self) -> tuple[Tensor, Tensor]:
        device = self.lengths.device
        return torch.arange(self.text_width, device=device)[None], torch.arange(self.trigger_width, device=device)[None]

    def _is_after(self, text: Tensor) -> Tensor:
        """Mask of the text columns behind the trigger, by place: all but the prefix, only the suffix, all."""
        after_cls, before_sep = text >= self.prefix, text >= self.lengths - self.suffix
        return torch.where(self.place == 0, after_cls, torch.where(self.place == 1, before_sep, True)).long()
