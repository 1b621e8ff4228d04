"""Saliency of the frozen model, without and with a trigger: integrated gradients (Sundararajan et al., ICML 2017).

The explained score is the positive label's log odds, of the model's input after its bank has applied the trigger; a
decision threshold would move it by a constant, which no attribution sees. The baseline is black for images, [CLS] [PAD]
... [SEP] for texts (the paper's figure 6), or what frames a text instead. Needs captum, imported here alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor

from triggers.model import FrozenClassifier
from triggers.preprocessing import TextBatch
from triggers.trigger import ImageBank, ImageTrigger, TextBank, TextTrigger
from triggers.trigger.image import shrink_and_centre
from triggers.trigger.text import EmbeddedText


@dataclass(frozen=True, eq=False)
class ImageSaliency:
    """N images as the model reads them (N, C, H, W) in [0, 1], attributions (N, H, W) summed over the channels,
    and the share (N,) of attribution mass that falls on what the trigger wrote.
    """

    given: Tensor
    attribution: Tensor
    share: Tensor


@dataclass(frozen=True, eq=False)
class TextSaliency:
    """One text as the model reads it: its tokens, which of them are the trigger's, and attributions, summed over
    the embedding and divided by their L2 `norm`; `share` is the part of their mass on the trigger's tokens.
    """

    tokens: tuple[str, ...]
    is_trigger: tuple[bool, ...]
    attribution: tuple[float, ...]
    norm: float
    share: float


def log_odds(logits: Tensor, pos_label: int) -> Tensor:
    """The positive label against the rest, (N, labels) to (N,)."""
    rest = torch.cat([logits[:, :pos_label], logits[:, pos_label + 1 :]], dim=1)
    return logits[:, pos_label] - rest.logsumexp(dim=1)


def image_saliency(classifier: FrozenClassifier, images: Tensor, trigger: ImageTrigger, steps: int) -> ImageSaliency:
    """Explain uint8 images (N, C, H, W) under a trigger, against a black baseline."""
    bank = cast(ImageBank, classifier.bank([trigger]))
    images = images.to(classifier.device)
    given = bank.apply(images, torch.zeros(len(images), dtype=torch.long, device=classifier.device)).detach()
    # A pixel is what was kept of the image plus what the trigger wrote; both share the path's mean gradient.
    gradient = _integrate(lambda x: log_odds(classifier.image_logits(x), classifier.pos_label), given, None, steps)
    kept = shrink_and_centre(images.float() / 255.0, trigger.inner) * bank.keep
    written, rest = (gradient * (given - kept)).abs(), (gradient * kept).abs()
    share = written.flatten(1).sum(1) / (written + rest).flatten(1).sum(1).clamp(min=1e-12)
    return ImageSaliency(given.cpu(), (gradient * given).sum(dim=1).cpu(), share.cpu())


def text_saliency(classifier: FrozenClassifier, ids: Tensor, trigger: TextTrigger, steps: int) -> TextSaliency:
    """Explain one text, token ids (L,) with special tokens, under a trigger."""
    bank = cast(TextBank, classifier.bank([trigger]))
    pad, template = classifier.pad_id, classifier.template
    empty = torch.tensor([*template.prefix, *[pad] * (len(ids) - template.tokens), *template.suffix])
    nothing = classifier.embed(torch.tensor(pad, device=classifier.device)).detach()
    blank = replace(bank, embeddings=nothing.expand_as(bank.embeddings))
    given, baseline = (_embedded(classifier, words, each) for words, each in ((ids, bank), (empty, blank)))
    rest = (given.mask, given.position_ids, given.token_types)

    def score(embeds: Tensor, mask: Tensor, *others: Tensor | None) -> Tensor:
        return log_odds(classifier.text_logits(EmbeddedText(embeds, mask, *others)), classifier.pos_label)

    gradient = _integrate(score, given.embeds, baseline.embeds, steps, rest)
    summed = (gradient * (given.embeds - baseline.embeds)).sum(dim=2)[0].cpu()
    norm = summed.norm()
    normed = summed / norm.clamp(min=1e-12)
    tokens, own = _tokens(classifier, ids, trigger)
    share = float(normed[torch.tensor(own)].abs().sum() / normed.abs().sum().clamp(min=1e-12))
    return TextSaliency(tokens, own, tuple(normed.tolist()), float(norm), share)


def _integrate(
    score: Callable[..., Tensor],
    given: Tensor,
    baseline: Tensor | None,
    steps: int,
    rest: tuple[Tensor | None, ...] = (),
) -> Tensor:
    """Mean gradient of the score along the straight line from the baseline (None: zero) to the input."""
    from captum.attr import IntegratedGradients

    explainer = IntegratedGradients(score, multiply_by_inputs=False)
    found: Tensor = explainer.attribute(
        given.detach().clone().requires_grad_(),
        baselines=baseline,
        additional_forward_args=rest or None,
        n_steps=steps,
        internal_batch_size=max(32, len(given)),
    )
    return found.detach()


def _embedded(classifier: FrozenClassifier, ids: Tensor, bank: TextBank) -> EmbeddedText:
    device = classifier.device
    batch = TextBatch(ids[None], torch.tensor([len(ids)])).to(device)
    made = classifier.embedded(batch, bank, torch.zeros(1, dtype=torch.long, device=device))
    return replace(made, embeds=made.embeds.detach())


def _tokens(
    classifier: FrozenClassifier, ids: Tensor, trigger: TextTrigger
) -> tuple[tuple[str, ...], tuple[bool, ...]]:
    """The tokens in the order in which the model reads them, and which are the trigger's."""
    words = list(classifier.tokenizer.convert_ids_to_tokens(ids.tolist()))
    own = list(trigger.words or (f"t{number + 1}" for number in range(len(trigger.embeddings))))
    template = classifier.template
    before, behind = len(template.prefix), len(words) - len(template.suffix)
    at = {"after_cls": before, "before_sep": behind, "as_published": 0}[trigger.position]
    marks = [False] * at + [True] * len(own) + [False] * (len(words) - at)
    return (*words[:at], *own, *words[at:]), tuple(marks)
